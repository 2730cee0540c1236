package main

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"time"

	"github.com/gotalk-go/gotalk"
)

type addition struct{ A, B int64 }

var add = gotalk.Op[addition, int64]{Name: "add"}

// newHandlers returns what both sides serve.
func (s *soak) newHandlers() *gotalk.Handlers {
	h := new(gotalk.Handlers)
	h.HandleBufferRequest("turn", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return turned(b), nil })
	h.HandleBufferRequestLent("check", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)), nil
	})
	add.Handle(h, func(_ context.Context, _ *gotalk.Sock, in addition) (int64, error) { return in.A + in.B, nil })
	h.HandleBufferRequest("fail", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		return nil, gotalk.NewError(gotalk.CodeNotFound, string(b))
	})
	h.HandleBufferRequest("once", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		if rand.IntN(8) == 0 {
			return nil, gotalk.RetryAfter(rand.N(20*time.Millisecond), "not this time")
		}
		if !s.ledger.run(string(b)) {
			s.totals.failf("a call has run twice that must not")
		}
		return nil, nil
	})
	h.HandleBufferRequestContext("wait", s.wait)
	h.HandleStream("turn", turnStream)
	h.HandleBufferNotification("note", func(_ *gotalk.Sock, _ string, b []byte) {
		if err := s.ledger.note(b); err != nil {
			s.totals.failf("notifications: %v", err)
		}
	})
	return h
}

// wait waits until its caller wants no answer any more, which it is to be told.
func (s *soak) wait(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
	t := time.NewTimer(longestCall + 3*s.lag.slack())
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
		s.totals.failf("a handler was not told that its call is over")
	}
	return nil, ctx.Err()
}

// turnStream answers each part of a stream, slower than they come now and then.
func turnStream(ctx context.Context, st *gotalk.Stream) error {
	slow := rand.IntN(4) == 0
	for {
		b, err := st.Recv()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = st.Send(turned(b))
		}
		if err != nil {
			return err
		}
		if slow {
			time.Sleep(rand.N(10 * time.Millisecond))
		}
	}
}
