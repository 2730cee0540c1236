// Stream shows requests and results that have many parts: parts are handled as they come, in both directions at once.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"strconv"
	"strings"

	"github.com/gotalk-go/gotalk"
)

func main() {
	addr := flag.String("addr", "localhost:0", "address to listen at; port 0 is any free one")
	flag.Parse()
	log.SetFlags(0)

	h := &gotalk.Handlers{}
	// Answers each part with one of its own.
	h.HandleStreamRequest("shout", func(_ *gotalk.Sock, _ string, parts chan []byte, out io.WriteCloser) error {
		for part := range parts {
			if _, err := fmt.Fprint(out, strings.ToUpper(string(part))); err != nil {
				return err
			}
		}
		return nil
	})
	// Takes everything, however much, and answers once.
	h.HandleStreamRequest("digest", func(_ *gotalk.Sock, _ string, parts chan []byte, out io.WriteCloser) error {
		sum, size := sha256.New(), 0
		for part := range parts {
			size += len(part)
			sum.Write(part)
		}
		_, err := fmt.Fprintf(out, "%d bytes, SHA-256 %x…", size, sum.Sum(nil)[:4])
		return err
	})
	// Takes one number and answers with many parts.
	h.HandleStreamRequest("count down", func(_ *gotalk.Sock, _ string, parts chan []byte, out io.WriteCloser) error {
		n, err := strconv.Atoi(string(<-parts))
		if err != nil {
			return errors.New("from which number?")
		}
		for ; n > 0; n-- {
			if _, err := fmt.Fprint(out, n); err != nil {
				return err // the client has gone: nobody to count for
			}
		}
		return nil
	})

	server, err := gotalk.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	server.Handlers = h
	server.Limits = gotalk.NewLimits(gotalk.Unlimited, 10) // streams are off unless a limit allows some
	go server.Accept()                                     // ends in Shutdown

	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	fmt.Println("shout: each part is answered before the next one is sent")
	request, results := s.StreamRequest("shout")
	for _, word := range []string{"one", "two", "three"} {
		if err := request.Write([]byte(word)); err != nil {
			log.Fatal(err)
		}
		result := <-results
		fmt.Printf("  %s -> %s\n", word, result.Data)
	}
	if err := request.End(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("  end:", drain(results))

	fmt.Println("digest: 4 MiB in parts of 64 KiB")
	request, results = s.StreamRequest("digest")
	for range 64 {
		if err := request.Write(make([]byte, 64<<10)); err != nil {
			log.Fatal(err)
		}
	}
	if err := request.End(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("  answer:", drain(results))

	for _, from := range []string{"5", "many"} {
		fmt.Println("count down from", from)
		request, results = s.StreamRequest("count down")
		if err := request.Write([]byte(from)); err != nil {
			log.Fatal(err)
		}
		if err := request.End(); err != nil {
			log.Fatal(err)
		}
		fmt.Println("  answer:", drain(results))
	}

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// drain takes what is left of a result: its parts, until the channel is closed, or an error.
func drain(results chan gotalk.Response) string {
	var parts []string
	for result := range results {
		switch {
		case result.IsError():
			return "failed: " + result.Error()
		case len(result.Data) > 0: // an empty part marks the end
			parts = append(parts, string(result.Data))
		}
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, " ")
}
