package gotalk_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/assert"
)

// sockEnd is an end of a random program's connection that is a Sock of ours, and what the program does with it.
type sockEnd struct {
	*play
	sock  *gotalk.Sock
	under sync.WaitGroup // what the program has begun

	exchanges atomic.Int32 // of it, those that nothing cancels
	lost      atomic.Int32 // and those that have failed

	mu      sync.Mutex
	cancels []context.CancelFunc
	streams []*sockStream
	results []chan gotalk.Response // of requests that have had their last result
}

// sockStream is a stream that a program has opened.
type sockStream struct {
	*gotalk.Stream
	todo chan func() // what it sends, one after the other

	mu        sync.Mutex
	sent      []int // the sizes of its parts
	ended     bool  // the program sends no more
	failed    bool  // a part may not have been sent
	receiving bool
	echoed    int // bytes
}

func (e *sockEnd) do() {
	switch what := e.next(32); {
	case what < 8:
		e.request()
	case what < 11:
		e.open()
	case what < 18:
		e.stream(e.send)
	case what < 20:
		e.stream(e.receive)
	case what == 20:
		e.stream(func(st *sockStream) { e.sends(st, func() { st.CloseSend() }); st.ended = true })
	case what == 21:
		e.stream(func(st *sockStream) { st.ended = true; st.Close() })
	case what < 24:
		if n := len(e.cancels); n > 0 {
			e.cancels[e.next(n)]()
		}
	case what == 24:
		e.notify()
	case what == 25:
		e.sendRequest()
	case what == 26:
		e.streamRequest()
	case what == 27:
		e.serially()
	case what < 30:
		e.pass()
	case what == 30:
		e.exchange()
	default:
		e.doRarely()
	}
}

// doRarely does what ends connections.
func (e *sockEnd) doRarely() {
	switch e.next(6) {
	case 0:
		e.sock.SendHeartbeat(0.5, nil)
	case 1:
		e.over = true
		e.sock.Close()
	case 2:
		e.over = true
		e.sock.CloseError(gotalk.ProtocolErrorAbnormal)
	case 3:
		e.over = true
		e.sock.Shutdown(nil, pick(e.play, time.Second, 0, 10*time.Millisecond))
	case 4:
		e.again()
	}
}

// begin starts f on a goroutine of its own, with a context that the program may cancel, and wants it to end in time. A call
// may also have no end: then it lasts as long as the connection does.
func (e *sockEnd) begin(endless bool, f func(ctx context.Context)) {
	const forEver = 24 * time.Hour
	limit := pick(e.play, 5*time.Second, time.Millisecond, 10*time.Millisecond, time.Second, forEver)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	e.cancels = append(e.cancels, cancel)
	if endless = endless && limit == forEver; endless {
		ctx = context.Background()
	}
	e.under.Go(func() {
		defer cancel()
		began := time.Now()
		f(ctx)
		assert.LessOrEqual(e, time.Since(began), limit)
	})
}

func (e *sockEnd) request() {
	op, b := pick(e.play, requestOps...), numbered(e.next(256), e.size())
	e.begin(true, func(ctx context.Context) {
		out, err := e.sock.BufferRequestContext(ctx, op, b)
		e.checkResult(op, b, out, err)
	})
}

// checkResult looks at what a request got.
func (e *sockEnd) checkResult(op string, in, out []byte, err error) {
	switch {
	case err != nil:
		assert.Nil(e, out)
	case !e.both: // the program answers as it likes
	case op == "large":
		assert.True(e, bytes.Equal(counting(e.largeResult()), out))
	default:
		assert.Contains(e, []string{"echo", "ask", "wait", "sleep"}, op)
		assert.True(e, bytes.Equal(in, out), "%s of %d bytes gives %d others", op, len(in), len(out))
	}
}

func (e *sockEnd) notify() {
	name, b := pick(e.play, "note", "sleep", "nobody"), make([]byte, e.size())
	e.begin(true, func(ctx context.Context) { e.sock.BufferNotifyContext(ctx, name, b) })
}

// serially makes calls one after the other, as of which the caller reads, and handlers run on the goroutine that reads.
func (e *sockEnd) serially() {
	n := pick(e.play, 40, 100)
	e.begin(true, func(ctx context.Context) {
		for i := range n {
			if _, err := e.sock.BufferRequestContext(ctx, "echo", numbered(i, 10)); err != nil {
				return
			}
		}
	})
}

// sendRequest makes a request by the API of gotalk 1.x.
func (e *sockEnd) sendRequest() {
	r := gotalk.NewRequest(pick(e.play, requestOps...), make([]byte, e.size()))
	results := make(chan gotalk.Response, 2)
	e.under.Go(func() {
		if e.sock.SendRequest(r, results) == nil {
			<-results
			e.mu.Lock()
			e.results = append(e.results, results)
			e.mu.Unlock()
		}
	})
}

// streamRequest makes a streaming one.
func (e *sockEnd) streamRequest() {
	op, parts, size := pick(e.play, streamingOps...), e.next(10), 1+e.next(200)
	if e.small || e.slow { // see size
		return
	}
	e.under.Go(func() {
		r, results := e.sock.StreamRequest(op)
		e.under.Go(func() {
			for i := range parts {
				if r.Write(numbered(i, size)) != nil {
					return
				}
			}
			r.End()
		})
		ends := 0
		for res := range results {
			assert.Zero(e, ends, "results after the last one")
			if !res.IsStreaming() || len(res.Data) == 0 {
				ends++
			}
		}
		assert.Equal(e, 1, ends)
	})
}

func (e *sockEnd) open() {
	op, receives := pick(e.play, streamingOps...), e.next(4) > 0
	e.begin(false, func(ctx context.Context) {
		opened, err := e.sock.OpenStream(ctx, op)
		if err != nil {
			return
		}
		st := &sockStream{Stream: opened, todo: make(chan func(), longestProgram)}
		e.mu.Lock()
		e.streams = append(e.streams, st)
		e.mu.Unlock()
		if receives {
			e.receive(st)
		}
		for {
			select {
			case f := <-st.todo:
				f()
			case <-st.Context().Done():
				return
			}
		}
	})
}

// exchange sends more than a window's worth and takes all of it back. The program does not cancel it, so that it must come
// to its end.
func (e *sockEnd) exchange() {
	if !e.both {
		return
	}
	e.exchanges.Add(1)
	e.under.Go(func() {
		err := e.exchangeParts()
		e.exchanges.Add(-1)
		if err != nil {
			e.lost.Add(1)
		}
	})
}

func (e *sockEnd) exchangeParts() error {
	parts, size := 10, 70_000
	if e.small {
		size = 2000
	}
	st, err := e.sock.OpenStream(context.Background(), "copy")
	if err != nil {
		return err
	}
	defer st.Close()
	e.under.Go(func() {
		for i := range parts {
			if st.Send(numbered(i, size)) != nil {
				return
			}
		}
		st.CloseSend()
	})
	for i := range parts {
		b, err := st.Recv()
		if err != nil {
			return err
		}
		assert.True(e, bytes.Equal(numbered(i, size), b))
	}
	_, err = st.Recv()
	assert.NotNil(e, err)
	if err == io.EOF {
		err = nil
	}
	return err
}

// stream does something with a stream, if there is one.
func (e *sockEnd) stream(f func(st *sockStream)) {
	e.mu.Lock()
	all := e.streams
	e.mu.Unlock()
	if len(all) > 0 {
		f(all[len(all)-1-e.next(len(all))])
	}
}

func (e *sockEnd) sends(st *sockStream, f func()) {
	select {
	case st.todo <- f:
	default:
	}
}

func (e *sockEnd) send(st *sockStream) {
	size := max(1, e.size())
	if st.ended {
		return
	}
	e.sends(st, func() {
		st.mu.Lock()
		n := len(st.sent)
		st.sent = append(st.sent, size)
		st.mu.Unlock()
		if st.Send(numbered(n, size)) != nil {
			st.mu.Lock()
			st.failed = true
			st.mu.Unlock()
		}
	})
}

// receive takes all that comes of a stream.
func (e *sockEnd) receive(st *sockStream) {
	st.mu.Lock()
	again := st.receiving
	st.receiving = true
	st.mu.Unlock()
	if again {
		return
	}
	n := 0
	take := func(b []byte) (int, error) {
		e.checkPart(st, n, b)
		n++
		return len(b), nil
	}
	e.under.Go(func() {
		if _, err := st.WriteTo(writerFunc(take)); err == nil {
			e.checkEnd(st, n)
		}
	})
}

// numbered is a payload that tells which one it is.
func numbered(n, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n + i)
	}
	return b
}

// checkPart looks at a part of a result: what was sent comes back, or what was promised.
func (e *sockEnd) checkPart(st *sockStream, n int, b []byte) {
	want := []byte("first")
	switch op := st.Op(); {
	case !e.both:
		return
	case op == "pour":
		want = numbered(n, 1000)
	case op == "echo": // which takes and gives all at once
		st.mu.Lock()
		want = nil
		for i, size := range st.sent {
			want = append(want, numbered(i, size)...)
		}
		want = want[min(st.echoed, len(want)):]
		want = want[:min(len(b), len(want))]
		st.echoed += len(b)
		st.mu.Unlock()
	case op == "copy" || op == "old":
		st.mu.Lock()
		sent := len(st.sent)
		if n < sent {
			want = numbered(n, st.sent[n])
		}
		st.mu.Unlock()
		assert.Less(e, n, sent, "a part that was never sent")
	}
	assert.True(e, bytes.Equal(want, b), "part %d of %s has %d other bytes", n, st.Op(), len(b))
}

// checkEnd looks whether a result that has ended in good order is complete.
func (e *sockEnd) checkEnd(st *sockStream, n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case !e.both:
	case st.Op() == "pour":
		assert.Equal(e, pouredParts, n)
	case (st.Op() == "copy" || st.Op() == "old") && !st.failed:
		assert.Equal(e, len(st.sent), n)
	}
}

// again connects the Sock anew, while its old connection may be in use.
func (e *sockEnd) again() {
	greets := e.next(2) > 0
	ca, cb := net.Pipe()
	adopt := func(s *gotalk.Sock, conn net.Conn) {
		s.Adopt(conn)
		e.under.Go(func() {
			if s.Handshake() == nil {
				s.Read(e.limits)
			}
		})
	}
	connect := func() {
		if greets {
			e.under.Go(func() { e.sock.ConnectReader(networked{ca}, e.limits) })
		} else {
			adopt(e.sock, networked{ca})
		}
	}
	synctest.Wait()
	e.over, e.anew = false, true
	e.offended.Store(false)
	if e.theirs == nil {
		for _, other := range e.ours {
			if other != e {
				adopt(other.sock, networked{cb})
			}
		}
		connect()
	} else {
		e.theirs.close()
		connect()
		p := newPeer(e, cb, nil, false, false)
		p.shakeHands()
		e.theirs = e.newWireEnd(p, greets)
	}
	synctest.Wait()
}

// cancelAll ends what the program has begun and not ended.
func (e *sockEnd) cancelAll() {
	for _, cancel := range e.cancels {
		cancel()
	}
}

// finish looks whether all that the program has begun has ended.
func (e *sockEnd) finish() {
	e.under.Wait()
	for _, results := range e.results {
		assert.Empty(e, results, "a result after the last one")
	}
}

// wait waits for the end of ctx, but not for ever.
func wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Second):
		return nil
	}
}

// nap takes a time that the payload's size says.
func nap(b []byte) { time.Sleep(time.Duration(len(b)%100) * time.Millisecond) }
