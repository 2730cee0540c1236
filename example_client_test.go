package gotalk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/gotalk-go/gotalk"
)

// A Client stays connected. When its server is replaced by another one, calls wait for that.
func ExampleClient() {
	h := gotalk.NewHandlers()
	h.Handle("double", func(n int) (int, error) { return 2 * n, nil })
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	server.Handlers = h
	addr := server.Addr()
	go server.Accept()

	c := gotalk.NewClient("tcp://" + addr)
	c.Idempotent = func(op string) bool { return op == "double" } // can run twice without harm
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	var n int
	err = c.Request("double", 4, &n)
	fmt.Println(n, err)

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // for as long the call may wait
	defer cancel()
	answered := make(chan bool)
	go func() {
		n, err := gotalk.Call[int](ctx, c.Sock, "double", 5)
		fmt.Println(n, err)
		answered <- true
	}()
	if server, err = gotalk.Listen("tcp", addr); err != nil {
		log.Fatal(err)
	}
	server.Handlers = h
	go server.Accept()
	<-answered
	fmt.Println(server.Shutdown(context.Background()), c.Shutdown(ctx), c.State())
	// Output:
	// 8 <nil>
	// 10 <nil>
	// <nil> <nil> closed
}

// Idempotent marks a call that a Client may make again when its connection is lost.
func ExampleIdempotent() {
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	var tries atomic.Int32
	server.Handlers = gotalk.NewHandlers()
	server.Handlers.Handle("tries", func(s *gotalk.Sock) (int32, error) {
		if tries.Add(1) < 3 {
			s.Close() // as if the network failed
		}
		return tries.Load(), nil
	})
	go server.Accept()
	c := gotalk.NewClient(server.Addr())
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = gotalk.Call[int](context.Background(), c.Sock, "tries", nil)
	fmt.Println(gotalk.CodeOf(err), errors.Is(err, gotalk.ErrSockClosed))
	n, err := gotalk.Call[int](gotalk.Idempotent(context.Background()), c.Sock, "tries", nil)
	fmt.Println(n, err)
	// Output:
	// unavailable true
	// 3 <nil>
}
