package gotalk_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oldProgram is written for github.com/rsms/gotalk and knows nothing of this module.
const oldProgram = `package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"

	"github.com/rsms/gotalk"
)

type greetIn struct {
	Name string ` + "`json:\"name\"`" + `
}

func main() {
	gotalk.Handle("greet", func(s *gotalk.Sock, in greetIn) (string, error) {
		if in.Name == "" {
			return "", errors.New("no name")
		}
		if err := s.Notify("greeted", in.Name); err != nil {
			return "", err
		}
		return "Hello " + in.Name, nil
	})
	gotalk.HandleStreamRequest("length", func(s *gotalk.Sock, op string, rch chan []byte, out io.WriteCloser) error {
		n := 0
		for b := <-rch; b != nil; b = <-rch {
			n += len(b)
		}
		_, err := out.Write([]byte(fmt.Sprint(n)))
		return err
	})
	greeted := make(chan string)
	gotalk.HandleNotification("greeted", func(name string) { greeted <- name })

	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	server.Limits = gotalk.NewLimits(gotalk.Unlimited, 1)
	go server.Accept()
	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	var out string
	err = s.Request("greet", greetIn{"Rasmus"}, &out)
	fmt.Println(out, err, <-greeted)
	err = s.Request("greet", greetIn{}, &out)
	_, isResponse := err.(*gotalk.Response)
	fmt.Println(err, isResponse)

	req, res := s.StreamRequest("length")
	for _, part := range []string{"one", "three"} {
		if err := req.Write([]byte(part)); err != nil {
			log.Fatal(err)
		}
	}
	if err := req.End(); err != nil {
		log.Fatal(err)
	}
	r := <-res
	fmt.Println(string(r.Data), r.IsStreaming())
	s.Close()
	server.Close()

	ws := gotalk.WebSocketHandler()
	ws.OnAccept = func(s *gotalk.Sock) { s.CloseHandler = func(*gotalk.Sock, int) {} }
	web := httptest.NewServer(ws)
	res2, err := web.Client().Get(web.URL + "/gotalk.js")
	fmt.Println(res2.StatusCode, err)
	web.Close()
}
`

func TestMigrateProgram(t *testing.T) {
	snippet := readmeBlocks(t, "gomod")[0]
	const released = "github.com/gotalk-go/gotalk v1.4.0"
	require.Contains(t, snippet, released)
	m := newModule(t, "module old\n\ngo 1.25\n\n"+strings.Replace(snippet, released, checkout(t), 1))
	m.write(t, "main.go", oldProgram)
	require.Equal(t, "Hello Rasmus <nil> Rasmus\nno name true\n8 true\n200 <nil>\n", m.run(t, "run", "."))
}
