// Conform is a peer with all operations that gotalk conform calls, over TCP and WebSocket, until ctrl-c: what a port in
// another language offers to be checked, see section 12 of PROTOCOL.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/gotalk-go/gotalk"
)

func main() {
	addr := flag.String("addr", "localhost:0", "address to listen at")
	web := flag.String("web", "localhost:0", "address to listen at for WebSockets")
	flag.Parse()
	log.SetFlags(0)
	gotalk.HandlerErrorLogger = nil // they fail because they are asked to

	server, err := gotalk.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	server.Handlers = operations()
	l, err := net.Listen("tcp", *web)
	if err != nil {
		log.Fatal(err)
	}
	sockets := gotalk.NewWebSocketServer()
	sockets.Handlers = server.Handlers
	webServer := &http.Server{Handler: sockets, ReadHeaderTimeout: 10 * time.Second}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 2)
	go func() { failed <- server.Accept() }()    // ends in Shutdown
	go func() { failed <- webServer.Serve(l) }() // ends in Close
	fmt.Println("listening at", server.Addr())
	fmt.Println("try: go run ./cmd/gotalk conform -strict", server.Addr())
	fmt.Printf(" and: go run ./cmd/gotalk conform -strict ws://%s/\n", l.Addr())
	fmt.Println("ctrl-c ends")

	select {
	case err := <-failed:
		log.Fatal(err)
	case <-ctx.Done():
	}
	stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := errors.Join(server.Shutdown(ctx), sockets.Shutdown(ctx), webServer.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("bye")
}

// operations are those in the table of section 12.
func operations() *gotalk.Handlers {
	h := &gotalk.Handlers{}
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, payload []byte) ([]byte, error) { return payload, nil })
	h.HandleBufferRequest("fail", func(*gotalk.Sock, string, []byte) ([]byte, error) {
		return nil, errors.New("it was to fail")
	})
	h.HandleBufferRequestContext("wait", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done() // cancelled, out of time, or without its connection
		return nil, ctx.Err()
	})
	h.HandleBufferRequest("call", func(s *gotalk.Sock, _ string, payload []byte) ([]byte, error) {
		return s.BufferRequest("answer", payload)
	})
	h.HandleStream("stream", func(_ context.Context, st *gotalk.Stream) error {
		for part, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(part); err != nil {
				return err
			}
		}
		return nil
	})
	h.HandleBufferNotification("ping", func(s *gotalk.Sock, _ string, payload []byte) { s.BufferNotify("pong", payload) })
	return h
}
