package gotalk_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"

	"github.com/gotalk-go/gotalk"
)

// An upload: the caller sends parts of any size, and gets the sum when it has ended its side.
func ExampleSock_OpenStream() {
	h := gotalk.NewHandlers()
	h.HandleStream("sum", func(_ context.Context, st *gotalk.Stream) error {
		sum := 0
		for part, err := range st.All() {
			if err != nil {
				return err
			}
			for _, b := range part {
				sum += int(b)
			}
		}
		return st.Send(fmt.Append(nil, sum))
	})
	s, peer, err := gotalk.Pipe(h, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	defer peer.Close()

	st, err := s.OpenStream(context.Background(), "sum")
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	st.Send([]byte{1, 2, 3})
	st.Send([]byte{4, 5})
	st.CloseSend()
	sum, err := st.Recv()
	fmt.Println(string(sum), err)
	// Output: 15 <nil>
}

// A handler that answers as it goes, here in upper case. A Stream is an io.Reader and an io.Writer.
func ExampleHandlers_HandleStream() {
	h := gotalk.NewHandlers()
	h.HandleStream("shout", func(_ context.Context, st *gotalk.Stream) error {
		for part, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(bytes.ToUpper(part)); err != nil {
				return err // the caller has gone, or run out of time
			}
		}
		return nil
	})
	s, peer, err := gotalk.Pipe(h, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	defer peer.Close()

	st, err := s.OpenStream(context.Background(), "shout")
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	fmt.Fprint(st, "good ")
	fmt.Fprint(st, "morning")
	st.CloseSend()
	all, err := io.ReadAll(st)
	fmt.Println(string(all), err)
	// Output: GOOD MORNING <nil>
}

// A streaming operation with types, declared once for both sides.
func ExampleStreamOp() {
	type span struct{ From, To int }
	squares := gotalk.StreamOp[span, int]{Name: "squares"}

	h := gotalk.NewHandlers()
	squares.Handle(h, func(_ context.Context, st *gotalk.JSONStream[int, span]) error {
		for s, err := range st.All() {
			if err != nil {
				return err
			}
			for i := s.From; i <= s.To; i++ {
				if err := st.Send(i * i); err != nil {
					return err
				}
			}
		}
		return nil
	})
	s, peer, err := gotalk.Pipe(h, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	defer peer.Close()

	st, err := squares.Open(context.Background(), s)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	st.Send(span{1, 3})
	st.Send(span{10, 11})
	st.CloseSend()
	for n, err := range st.All() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n)
	}
	// Output:
	// 1
	// 4
	// 9
	// 100
	// 121
}
