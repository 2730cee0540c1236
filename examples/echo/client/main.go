// Client calls the server in the folder next to it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
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
	addr := flag.String("addr", "localhost:1234", "address of the server")
	name := flag.String("name", "Rasmus", "your name")
	flag.Parse()
	log.SetFlags(0)

	// Nothing below takes longer than this, whatever the server does.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	s, err := gotalk.ConnectContext(ctx, "tcp", *addr)
	if err != nil {
		log.Fatalf("%v\nstart it with: go run ./examples/echo/server", err)
	}
	defer s.Close()
	fmt.Println("connected to", s.Addr())

	var answer string
	if err := s.RequestContext(ctx, "echo", "Hello World", &answer); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("echo answers %q\n", answer)

	var greeting Greeting
	err = s.RequestContext(ctx, "greet", Person{*name}, &greeting)
	var refusal *gotalk.Response
	switch {
	case errors.As(err, &refusal): // the handler returned an error
		fmt.Printf("greet refuses: %v\n", refusal)
	case err != nil: // the connection or the time ended
		log.Fatal(err)
	default:
		fmt.Printf("greet answers %q\n", greeting.Text)
	}
}
