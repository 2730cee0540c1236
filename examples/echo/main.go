// Echo runs a gotalk server and a client of it in one process, and prints what they say to each other. The folders
// server and client have the same as two programs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"

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
	addr := flag.String("addr", "localhost:0", "address to listen at; port 0 is any free one")
	flag.Parse()
	log.SetFlags(0)

	// What the server can do: two operations, each a plain function.
	gotalk.Handle("echo", func(message string) (string, error) {
		fmt.Printf("server: somebody says %q\n", message)
		return message, nil
	})
	gotalk.Handle("greet", func(p Person) (Greeting, error) {
		fmt.Printf("server: here is %q\n", p.Name)
		if p.Name == "" {
			return Greeting{}, errors.New("tell me your name first")
		}
		return Greeting{"Hello " + p.Name}, nil
	})
	server, err := gotalk.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("server: listening at", server.Addr())
	go server.Accept() // ends in Shutdown

	// The client: connects and calls.
	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("client: connected")

	var answer string
	if err := s.Request("echo", "Hello World", &answer); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("client: echo answers %q\n", answer)

	var greeting Greeting
	if err := s.Request("greet", Person{"Rasmus"}, &greeting); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("client: greet answers %q\n", greeting.Text)

	// What a handler returns as an error is the error of the call.
	err = s.Request("greet", Person{}, &greeting)
	fmt.Printf("client: greet fails: %v\n", err)

	s.Close()
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("server: closed")
}
