// Server answers the client in the folder next to it until ctrl-c.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/gotalk-go/gotalk"
)

// Person and Greeting travel as JSON.
type Person struct {
	Name string `json:"name"`
}

type Greeting struct {
	Text string `json:"text"`
}

func main() {
	addr := flag.String("addr", "", "address to listen at (localhost:1234, or another port if that is taken)")
	flag.Parse()
	log.SetFlags(0)

	gotalk.Handle("echo", func(message string) (string, error) {
		fmt.Printf("somebody says %q\n", message)
		return message, nil
	})
	gotalk.Handle("greet", func(p Person) (Greeting, error) {
		fmt.Printf("here is %q\n", p.Name)
		if p.Name == "" {
			return Greeting{}, errors.New("tell me your name first")
		}
		return Greeting{"Hello " + p.Name}, nil
	})

	server, err := listen(*addr)
	if err != nil {
		log.Fatal(err)
	}
	// Both are called with the Sock of a connection: when it has begun, and when it has ended.
	server.AcceptHandler = func(s *gotalk.Sock) {
		fmt.Println("client connected")
		s.CloseHandler = func(*gotalk.Sock, int) { fmt.Println("client gone") }
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.Accept() }() // ends in Shutdown
	fmt.Println("listening at", server.Addr())
	fmt.Println("try: go run ./examples/echo/client -addr", server.Addr())
	fmt.Println("ctrl-c ends")

	select {
	case err := <-failed:
		log.Fatal(err)
	case <-ctx.Done():
	}
	stop() // a second ctrl-c ends the program without further ado

	// Requests under way are answered first, but for no longer than this.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("bye")
}

// listen uses the port that the client tries, if nobody else does.
func listen(addr string) (*gotalk.Server, error) {
	if addr != "" {
		return gotalk.Listen("tcp", addr)
	}
	if server, err := gotalk.Listen("tcp", "localhost:1234"); err == nil {
		return server, nil
	}
	return gotalk.Listen("tcp", "localhost:0")
}
