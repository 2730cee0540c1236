package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gotalk-go/gotalk"
)

const (
	shortestCall = 50 * time.Millisecond
	longestCall  = 3 * time.Second        // how long a call may take
	mostPause    = 200 * time.Millisecond // between calls
)

// caller makes calls on one end of a connection, one after the other.
type caller struct {
	*soak
	sock  *gotalk.Sock
	rng   *rand.Rand
	notes *numbers
}

// kind is a kind of call. do returns nil when the answer is right, a wrongAnswer when it is not, and otherwise the error
// that the call has ended with. ctx is for how long it may take.
type kind struct {
	name  string
	often int // in relation to the others
	do    func(c *caller, ctx context.Context) error
}

var kinds = []kind{
	{"call", 30, (*caller).call},
	{"typed", 15, (*caller).typed},
	{"once", 15, (*caller).once},
	{"note", 15, (*caller).note},
	{"failure", 5, (*caller).failure},
	{"cancel", 6, (*caller).cancel},
	{"deadline", 4, (*caller).deadline},
	{"stream", 5, (*caller).stream},
	{"large", 1, (*caller).large},
	{"into", 1, (*caller).into},
	{"lent", 3, (*caller).lent},
}

// wrongAnswer is what an answer is that should have been another one.
type wrongAnswer string

func (w wrongAnswer) Error() string { return string(w) }

func wrong(format string, args ...any) error { return wrongAnswer(fmt.Sprintf(format, args...)) }

// use makes calls on a Sock until over, or until the soak stops. notes are the notifications of this end of its connection.
func (s *soak) use(sock *gotalk.Sock, notes *numbers, rng *rand.Rand, over func() bool) {
	var callers sync.WaitGroup
	for range callersPerEnd {
		c := &caller{soak: s, sock: sock, rng: rand.New(rand.NewPCG(rng.Uint64(), 0)), notes: notes}
		callers.Go(func() {
			for !over() && !s.stopped() {
				c.work()
				s.pause(mostPause + s.lag.pause())
			}
		})
	}
	callers.Wait()
}

// work makes a call of any kind.
func (c *caller) work() {
	k := pick(c.rng)
	limit := shortestCall + time.Duration(c.rng.Int64N(int64(longestCall-shortestCall)))
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	began := time.Now()
	err := k.do(c, ctx)
	c.totals.judge(k.name, outcomeOf(ctx, err), time.Since(began)-limit, c.lag.slack())
}

func pick(rng *rand.Rand) kind {
	total := 0
	for _, k := range kinds {
		total += k.often
	}
	n := rng.IntN(total)
	for _, k := range kinds {
		if n -= k.often; n < 0 {
			return k
		}
	}
	panic("unreachable")
}

// filled returns n bytes that no other call has.
func filled(nonce uint64, n int) []byte {
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], nonce+uint64(i)*0x9e3779b97f4a7c15)
	}
	return b[:n]
}

// turned returns what the peer makes of b.
func turned(b []byte) []byte {
	out := make([]byte, len(b))
	for i, v := range b {
		out[i] = ^v
	}
	return out
}

// same tells what is wrong with got.
func same(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return wrong("%d bytes, %.32x…, in place of %d, %.32x…", len(got), got, len(want), want)
	}
	return nil
}

// call makes a small call.
func (c *caller) call(ctx context.Context) error {
	b := filled(c.rng.Uint64(), c.rng.IntN(2000))
	got, err := c.sock.BufferRequestContext(ctx, "turn", b)
	if err != nil {
		return err
	}
	return same(got, turned(b))
}

// large makes a call whose payloads are split.
func (c *caller) large(ctx context.Context) error {
	b := filled(c.rng.Uint64(), 128<<10+c.rng.IntN(1<<20))
	got, err := c.sock.BufferRequestContext(ctx, "turn", b)
	if err != nil {
		return err
	}
	return same(got, turned(b))
}

// into does the same with memory for the result.
func (c *caller) into(ctx context.Context) error {
	b := filled(c.rng.Uint64(), 128<<10+c.rng.IntN(1<<20))
	got, err := c.sock.BufferRequestInto(ctx, "turn", b, make([]byte, len(b)))
	if err != nil {
		return err
	}
	return same(got, turned(b))
}

// lent makes a call to a handler that does not keep its payload.
func (c *caller) lent(ctx context.Context) error {
	b := filled(c.rng.Uint64(), c.rng.IntN(300<<10))
	got, err := c.sock.BufferRequestContext(ctx, "check", b)
	if err != nil {
		return err
	}
	return same(got, binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)))
}

// typed makes a call with JSON.
func (c *caller) typed(ctx context.Context) error {
	in := addition{A: c.rng.Int64N(1 << 40), B: c.rng.Int64N(1 << 40)}
	got, err := add.Call(ctx, c.sock, in)
	if err == nil && got != in.A+in.B {
		return wrong("%d + %d is no %d", in.A, in.B, got)
	}
	return err
}

// once makes a call that must not run twice, and has to have run if there is an answer. The peer sometimes asks to try again.
func (c *caller) once(ctx context.Context) error {
	b := filled(c.rng.Uint64(), 16)
	_, err := c.sock.BufferRequestContext(ctx, "once", b)
	if err == nil && !c.ledger.hasRun(string(b)) {
		return wrong("the answer of a call that has not run")
	}
	return err
}

// note sends a notification, which is the next of its connection.
func (c *caller) note(ctx context.Context) error {
	n, done := c.notes.next()
	err := c.sock.BufferNotifyContext(ctx, "note", n.payload())
	done(err)
	return err
}

// failure makes a call that fails.
func (c *caller) failure(ctx context.Context) error {
	text := fmt.Sprintf("no %x", c.rng.Uint64())
	_, err := c.sock.BufferRequestContext(ctx, "fail", []byte(text))
	var res *gotalk.Response
	switch {
	case err == nil:
		return wrong("no error")
	case !errors.As(err, &res) || !res.IsError() || string(res.Data) != text:
		return err
	}
	// Before its hello has come a peer is not told codes.
	if code := gotalk.CodeOf(err); code != gotalk.CodeNotFound && code != gotalk.CodeUnknown {
		return wrong("the code %s", code)
	}
	return nil
}

// cancel makes a call and cancels it.
func (c *caller) cancel(ctx context.Context) error {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(time.Duration(c.rng.Int64N(int64(100*time.Millisecond))), cancel).Stop()
	_, err := c.sock.BufferRequestContext(own, "wait", nil)
	switch {
	case err == nil:
		return wrong("an answer to what was cancelled")
	case errors.Is(err, context.Canceled) && own.Err() != nil:
		return nil
	}
	return err
}

// deadline makes a call that does not end in its time.
func (c *caller) deadline(ctx context.Context) error {
	own, cancel := context.WithTimeout(ctx, time.Duration(c.rng.Int64N(int64(100*time.Millisecond))))
	defer cancel()
	_, err := c.sock.BufferRequestContext(own, "wait", nil)
	switch {
	case err == nil:
		return wrong("an answer when the time was over")
	case errors.Is(err, context.DeadlineExceeded) && timeIsUp(own):
		return nil
	}
	return err
}

// stream sends parts and receives what the peer makes of them, slower than they come now and then.
func (c *caller) stream(ctx context.Context) error {
	st, err := c.sock.OpenStream(ctx, "turn")
	if err != nil {
		return err
	}
	defer st.Close()
	nonce, parts, size := c.rng.Uint64(), 1+c.rng.IntN(60), 1+c.rng.IntN(24<<10)
	slow := c.rng.IntN(4) == 0
	sent := make(chan error, 1)
	go func() { // ends with the stream
		for i := range parts {
			if err := st.Send(filled(nonce+uint64(i), size)); err != nil {
				sent <- err
				return
			}
		}
		sent <- st.CloseSend()
	}()
	for i := range parts {
		got, err := st.Recv()
		if err == io.EOF {
			return wrong("a stream has ended after %d of %d parts", i, parts)
		}
		if err == nil {
			err = same(got, turned(filled(nonce+uint64(i), size)))
		}
		if err != nil {
			return err
		}
		if slow && ctx.Err() == nil { // what has come is the caller's even if the time is over
			c.pause(20 * time.Millisecond)
		}
	}
	if err := <-sent; err != nil {
		return wrong("all parts have come back, of which one was not sent: %v", err)
	}
	if _, err = st.Recv(); err == nil {
		return wrong("more parts than were sent")
	} else if err != io.EOF {
		return err
	}
	return nil
}
