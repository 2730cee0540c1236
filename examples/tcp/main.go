// TCP shows that neither side of a connection is just a client: the server calls an operation of the client's while it
// answers one of its calls, and many calls share the connection.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"sync"

	"github.com/gotalk-go/gotalk"
)

func main() {
	addr := flag.String("addr", "localhost:0", "address to listen at; port 0 is any free one")
	flag.Parse()
	log.SetFlags(0)

	// The server introduces whoever calls: it asks the caller for a name, on the connection that the call came over.
	atServer := &gotalk.Handlers{}
	atServer.Handle("introduce me", func(s *gotalk.Sock) (string, error) {
		var name string
		if err := s.Request("your name", nil, &name); err != nil {
			return "", fmt.Errorf("you have no name: %w", err)
		}
		return "this is " + name, nil
	})
	atServer.Handle("square", func(n int) (int, error) { return n * n, nil })

	server, err := gotalk.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	server.Handlers = atServer
	go server.Accept() // ends in Shutdown
	fmt.Println("server: listening at", server.Addr())

	for _, name := range []string{"Anna", "Bo"} {
		atClient := &gotalk.Handlers{}
		atClient.Handle("your name", func() (string, error) {
			fmt.Printf("%s: the server asks for my name\n", name)
			return name, nil
		})
		s := gotalk.NewSock(atClient)
		if err := s.Connect("tcp", server.Addr(), nil); err != nil {
			log.Fatal(err)
		}
		defer s.Close()
		var introduction string
		if err := s.Request("introduce me", nil, &introduction); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: the server says: %s\n", name, introduction)
	}

	// A thousand calls at the same time over one connection. Answers come in any order and find their callers.
	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	squares := make([]int, 1000)
	for i := range squares {
		wg.Go(func() {
			if err := s.Request("square", i, &squares[i]); err != nil {
				log.Fatal(err)
			}
		})
	}
	wg.Wait()
	fmt.Printf("client: 1000 calls at once: 0² = %d, 1² = %d … 999² = %d\n", squares[0], squares[1], squares[999])

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
