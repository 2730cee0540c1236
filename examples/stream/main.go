// Stream shows calls that have many parts: parts are handled as they come, in both directions at once, and a consumer that is
// slow holds up its producer.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gotalk-go/gotalk"
)

// Countdown is declared once for both sides: numbers from which to count go in, numbers come out.
var Countdown = gotalk.StreamOp[int, int]{Name: "count down"}

func main() {
	addr := flag.String("addr", "localhost:0", "address to listen at; port 0 is any free one")
	flag.Parse()
	log.SetFlags(0)
	gotalk.HandlerErrorLogger = nil // failures are part of the show

	h := &gotalk.Handlers{}
	// Answers each part with one of its own.
	h.HandleStream("shout", func(_ context.Context, st *gotalk.Stream) error {
		for part, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send([]byte(strings.ToUpper(string(part)))); err != nil {
				return err
			}
		}
		return nil
	})
	// Takes everything, however much, and answers once. A Stream is an io.Reader and an io.Writer.
	h.HandleStream("digest", func(_ context.Context, st *gotalk.Stream) error {
		sum := sha256.New()
		size, err := io.Copy(sum, st)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(st, "%d bytes, SHA-256 %x…", size, sum.Sum(nil)[:4])
		return err
	})
	// Counts until it is done or nobody listens any more.
	Countdown.Handle(h, func(_ context.Context, st *gotalk.JSONStream[int, int]) error {
		n, err := st.Recv()
		if err != nil {
			return err
		}
		if n < 0 {
			return gotalk.NewError(gotalk.CodeInvalidArgument, "from which number?")
		}
		for ; n > 0; n-- {
			if err := st.Send(n); err != nil {
				return err
			}
		}
		return nil
	})
	// Sends as fast as it can, until the caller has enough.
	var sent atomic.Int64
	stopped := make(chan error, 1)
	h.HandleStream("flood", func(_ context.Context, st *gotalk.Stream) error {
		for part := make([]byte, 16<<10); ; sent.Add(int64(len(part))) {
			if err := st.Send(part); err != nil {
				stopped <- err
				return err
			}
		}
	})

	server, err := gotalk.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	server.Handlers = h
	go server.Accept() // ends in Shutdown

	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()

	fmt.Println("shout: each part is answered before the next one is sent")
	st := open(ctx, s, "shout")
	for _, word := range []string{"one", "two", "three"} {
		if err := st.Send([]byte(word)); err != nil {
			log.Fatal(err)
		}
		answer, err := st.Recv()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("  %s -> %s\n", word, answer)
	}
	if err := st.CloseSend(); err != nil {
		log.Fatal(err)
	}
	_, err = st.Recv()
	fmt.Println("  end:", err == io.EOF)

	fmt.Println("digest: 4 MiB in parts of 64 KiB")
	st = open(ctx, s, "digest")
	for range 64 {
		if err := st.Send(make([]byte, 64<<10)); err != nil {
			log.Fatal(err)
		}
	}
	if err := st.CloseSend(); err != nil {
		log.Fatal(err)
	}
	answer, err := io.ReadAll(st)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("  answer:", string(answer))

	for _, from := range []int{5, -1} {
		fmt.Println("count down from", from)
		numbers, err := Countdown.Open(ctx, s)
		if err != nil {
			log.Fatal(err)
		}
		if err := numbers.Send(from); err != nil {
			log.Fatal(err)
		}
		fmt.Print("  answer:")
		for n, err := range numbers.All() {
			if err != nil {
				fmt.Printf(" %s (%s)", err, gotalk.CodeOf(err))
				break
			}
			fmt.Print(" ", n)
		}
		fmt.Println()
	}

	fmt.Println("flood: the caller takes one part, and gives up after a tenth of a second")
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	st = open(ctx, s, "flood")
	if _, err := st.Recv(); err != nil {
		log.Fatal(err)
	}
	<-ctx.Done()
	err = <-stopped
	fmt.Println("  sent no more than the window and a few parts:", sent.Load() <= 400<<10)
	fmt.Println("  the handler was told:", errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled))

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func open(ctx context.Context, s *gotalk.Sock, op string) *gotalk.Stream {
	st, err := s.OpenStream(ctx, op)
	if err != nil {
		log.Fatal(err)
	}
	return st
}
