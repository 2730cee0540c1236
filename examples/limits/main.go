// Limits shows what a server grants its peers and what happens to one that wants more: it is refused, told why, and
// nobody else notices.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gotalk-go/gotalk"
)

func main() {
	addr := flag.String("addr", "localhost:0", "address to listen at; port 0 is any free one")
	flag.Parse()
	log.SetFlags(0)

	var busy atomic.Int32
	entered, release := make(chan struct{}), make(chan struct{})
	h := &gotalk.Handlers{}
	h.Handle("hold", func() error {
		entered <- struct{}{}
		<-release
		return nil
	})
	h.Handle("work", func() error {
		defer busy.Add(-1)
		if n := busy.Add(1); n > 2 {
			log.Fatalf("%d requests at once", n)
		}
		time.Sleep(10 * time.Millisecond)
		return nil
	})

	server, err := gotalk.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	server.Handlers = h
	limits := gotalk.NewLimits(2, 0) // of each connection: two requests at once, no streams
	limits.MaxPayload = 1024
	limits.BufferMinWait, limits.BufferMaxWait = 20*time.Millisecond, 40*time.Millisecond
	server.Limits = limits
	go server.Accept() // ends in Shutdown
	fmt.Println("server: at most 2 requests at once, 1024 bytes each, no streams")

	// A client that wants to decide for itself what to do when it is refused.
	impatient := gotalk.NewSock(nil)
	impatient.AutoRetryRequests = false
	if err := impatient.Connect("tcp", server.Addr(), nil); err != nil {
		log.Fatal(err)
	}
	defer impatient.Close()
	var held sync.WaitGroup
	for range 2 {
		held.Go(func() {
			if _, err := impatient.BufferRequest("hold", nil); err != nil {
				log.Fatal(err)
			}
		})
		<-entered
	}
	_, err = impatient.BufferRequest("work", nil)
	var refusal *gotalk.Response
	if !errors.As(err, &refusal) || !refusal.IsRetry() {
		log.Fatalf("want a refusal, got %v", err)
	}
	fmt.Printf("impatient client: third request: %v, try again in a moment\n", refusal)
	close(release)
	held.Wait()

	// By default a Sock waits as it is asked to and tries again by itself.
	patient := gotalk.NewSock(nil)
	if err := patient.Connect("tcp", server.Addr(), nil); err != nil {
		log.Fatal(err)
	}
	defer patient.Close()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := patient.BufferRequest("work", nil); err != nil {
				log.Fatal(err)
			}
		})
	}
	wg.Wait()
	fmt.Println("patient client: all 6 requests answered, never more than 2 at once")

	_, err = patient.BufferRequest("work", make([]byte, 2000))
	fmt.Printf("patient client: 2000 bytes: %v\n", err)

	stream, results := patient.StreamRequest("anything")
	if err := stream.Write([]byte("part")); err != nil {
		log.Fatal(err)
	}
	result := <-results
	fmt.Printf("patient client: stream: %s\n", result.Data)

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
