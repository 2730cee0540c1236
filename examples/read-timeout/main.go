// Read-timeout shows how a server gets rid of peers that are gone: it closes a connection over which nothing has come for
// some time. Heartbeats keep one open that has nothing to say.
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

func main() {
	addr := flag.String("addr", "localhost:0", "address to listen at; port 0 is any free one")
	flag.Parse()
	log.SetFlags(0)

	h := &gotalk.Handlers{}
	h.Handle("long work", func(s *gotalk.Sock) (string, error) {
		select {
		case <-time.After(2 * time.Second):
			return "finished", nil
		case <-s.Context().Done(): // nobody waits for the result any more
			return "", s.Context().Err()
		}
	})
	gotalk.HandlerErrorLogger = nil // the error above is part of the show

	server, err := gotalk.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	server.Handlers = h
	limits := gotalk.NewLimits(gotalk.Unlimited, 0)
	limits.ReadTimeout = time.Second // 30 s unless set
	server.Limits = limits
	go server.Accept() // ends in Shutdown
	fmt.Println("server: drops who sends nothing for", limits.ReadTimeout)

	call := func(name string, heartbeat time.Duration) {
		s := gotalk.NewSock(nil)
		s.HeartbeatInterval = heartbeat // 20 s unless set; 0 is none
		if err := s.Connect("tcp", server.Addr(), nil); err != nil {
			log.Fatal(err)
		}
		defer s.Close()
		var result string
		err := s.Request("long work", nil, &result)
		switch {
		case errors.Is(err, gotalk.ErrTimeout):
			fmt.Printf("%s: dropped before the work was done: %v\n", name, err)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Printf("%s: work %s\n", name, result)
		}
	}
	call("silent client", 0)
	call("client with a heartbeat every 200 ms", 200*time.Millisecond)

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
