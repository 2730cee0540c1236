package gotalk_test

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Random programs. A program is a string of bytes: the first one says what the two ends of a connection are, and those that
// follow what they do. Any string is a program, so that a fuzzer can write them. Whatever it does, nothing panics, each
// call ends in its time, each request has exactly one reply, and in the end nothing is held and no goroutine is left.

var (
	programSeed = flag.Uint64("programs.seed", 0, "the seed of TestRandomPrograms; 0 means another one each time")
	oneProgram  = flag.String("programs.run", "", "the one program, in hexadecimal digits, that TestRandomPrograms runs")
	programs    = flag.Int("programs", 300, "how many programs TestRandomPrograms runs")
)

const longestProgram = 240 // bytes

func TestRandomPrograms(t *testing.T) {
	if *oneProgram != "" {
		b, err := hex.DecodeString(*oneProgram)
		require.NoError(t, err)
		runProgram(t, b)
		return
	}
	seed := *programSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to run these again: go test -run TestRandomPrograms -programs %d -programs.seed %d .", *programs, seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range *programs {
		b := make([]byte, 1+r.IntN(longestProgram))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		runProgram(t, b)
	}
}

// FuzzSock: so it is with the programs that a fuzzer comes to.
func FuzzSock(f *testing.F) {
	for i := range byte(32) {
		f.Add([]byte{i})
	}
	f.Fuzz(func(t *testing.T, b []byte) { runProgram(t, b[:min(len(b), longestProgram)]) })
}

func runProgram(t *testing.T, b []byte) {
	hangs := time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("program %x hangs", b)) })
	defer hangs.Stop()
	ended := false
	defer func() {
		if t.Failed() || !ended {
			fmt.Printf("to run this again: go test -run TestRandomPrograms -programs.run %x .\n", b)
		}
	}()
	synctest.Test(t, func(t *testing.T) { newPlay(t, b).run() })
	ended = true
}

// play is a program that is being run.
type play struct {
	*testing.T
	rest []byte // of the program

	both  bool // ends are Socks of ours
	plain bool // one end knows no extensions
	small bool // the limits are
	slow  bool // the program's own end may stop reading

	handlers *gotalk.Handlers
	limits   *gotalk.Limits
	ours     []*sockEnd // one or two
	theirs   *wireEnd   // the program's own end of the connection in use; nil if x.both are ours

	over     bool        // one end has done what ends connections
	anew     bool        // there was another connection before
	offended atomic.Bool // the program's own end may have said what ends connections
}

// end is one of the two that a connection has. do has it do what comes next in the program.
type end interface{ do() }

func newPlay(t *testing.T, b []byte) *play {
	x := &play{T: t, rest: b}
	kind := x.next(32)
	connects := kind&2 != 0
	x.both, x.plain, x.small, x.slow = kind&1 != 0, kind&4 != 0, kind&8 != 0, kind&16 != 0 && !x.both
	x.handlers = x.newHandlers()
	x.limits = gotalk.NewLimits(gotalk.Unlimited, gotalk.Unlimited)
	if x.small {
		x.limits = &gotalk.Limits{
			ReadTimeout: 30 * time.Second, BufferRequests: 5, StreamRequests: 2, MaxPayload: 4000, MaxHandlers: 3,
			MaxPendingBytes: 4000, MaxUnsentBytes: 2000,
		}
		if !x.both {
			x.limits.MaxPayload = 2500 // see size
		}
		if x.slow {
			x.limits.MaxUnsentBytes = 0
		}
	}
	if !x.both && connects {
		c := quietSock(x.handlers)
		p := connectInMemory(t, c, x.limits)
		x.ours = []*sockEnd{{play: x, sock: c}}
		x.theirs = x.newWireEnd(p, true)
		return x
	}
	s := serveInMemory(t, x.handlers, x.limits)
	if x.both {
		c := quietSock(x.handlers)
		c.NoExtensions = x.plain
		s.connect(c)
		x.ours = []*sockEnd{{play: x, sock: c}, {play: x, sock: s.sock()}}
		return x
	}
	p := s.mutePeer()
	p.say("01")
	_, err := p.read(true)
	require.NoError(t, err)
	x.ours = []*sockEnd{{play: x, sock: s.sock()}}
	x.theirs = x.newWireEnd(p, false)
	return x
}

// next takes a byte of the program, for one of n choices.
func (x *play) next(n int) int {
	if len(x.rest) == 0 {
		return 0
	}
	b := x.rest[0]
	x.rest = x.rest[1:]
	return int(b) % n
}

// pick takes one of the choices. The first one is what a program's end stands for.
func pick[T any](x *play, choices ...T) T { return choices[x.next(len(choices))] }

// size takes the size of a payload. Those that are sent to who does not read must be small: who waits for a lock that a
// writer holds keeps virtual time from going on.
func (x *play) size() int {
	small := pick(x, 1, 5, 0, 100, 1000, 3000)
	if x.small || x.slow {
		return small
	}
	return pick(x, small, small, small, small, small, small, 20_000, 70_000, 140_000)
}

func (x *play) pass() {
	time.Sleep(pick(x, time.Millisecond, 100*time.Microsecond, 300*time.Microsecond, 100*time.Millisecond))
}

func (x *play) run() {
	ends := []end{x.ours[0]}
	if x.theirs == nil {
		ends = append(ends, x.ours[1])
	}
	for len(x.rest) > 0 {
		b := x.next(8)
		if b&3 != 0 {
			synctest.Wait()
		}
		switch who := b >> 2; {
		case who < len(ends):
			ends[who].do()
		default:
			x.theirs.do()
		}
	}
	x.tidy()
	x.check()
	for _, e := range x.ours {
		assert.NoError(x, e.sock.Close())
	}
	if x.theirs != nil {
		x.theirs.close()
	}
	time.Sleep(2 * time.Minute) // all that is still to be waited for is over
	for _, e := range x.ours {
		e.finish()
		x.nothingHeld(e)
	}
}

// nothingHeld is what must be so when all has ended.
func (x *play) nothingHeld(e *sockEnd) {
	calls, streams, bytes := gotalk.Held(e.sock)
	assert.Equal(x, "0 0 0 0", fmt.Sprint(calls, streams, bytes, gotalk.HeldParts(e.sock)))
}

// tidy ends what is under way, on a connection that stays.
func (x *play) tidy() {
	if x.theirs != nil {
		x.theirs.resume()
	}
	for _, e := range x.ours {
		e.cancelAll()
	}
	for range 4 { // an end may lead to another call
		synctest.Wait()
		if x.theirs != nil {
			x.theirs.settle()
		}
		time.Sleep(6 * time.Second)
	}
}

// check looks at a connection on which everything should have ended.
func (x *play) check() {
	if x.over || x.offended.Load() {
		return
	}
	for _, e := range x.ours {
		assert.False(x, e.sock.IsClosed(), "closed without a reason")
		assert.Equal(x, gotalk.Stats{Connections: 1}, e.sock.Stats())
		assert.Zero(x, e.exchanges.Load(), "exchanges that stand still")
		if !x.plain && !x.small && !x.anew {
			assert.Zero(x, e.lost.Load(), "exchanges that have failed")
		}
		x.nothingHeld(e)
	}
	if x.theirs != nil {
		x.theirs.checkReplies()
	}
}

var (
	requestOps   = []string{"echo", "ask", "wait", "sleep", "large", "retry", "fail", "panic", "exit", "none"}
	streamingOps = []string{"copy", "old", "pour", "stay", "fail", "panic", "exit", "echo", "none"}
)

const pouredParts = 20

// newHandlers has operations of all manners, which end within five seconds, or when their streams do.
func (x *play) newHandlers() *gotalk.Handlers {
	h := gotalk.NewHandlers()
	plain := func(op string, f func(s *gotalk.Sock, b []byte) ([]byte, error)) {
		h.HandleBufferRequest(op, func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) { return f(s, b) })
	}
	plain("echo", func(_ *gotalk.Sock, b []byte) ([]byte, error) { return b, nil })
	plain("sleep", func(_ *gotalk.Sock, b []byte) ([]byte, error) { nap(b); return b, nil })
	plain("large", func(*gotalk.Sock, []byte) ([]byte, error) { return counting(x.largeResult()), nil })
	plain("retry", func(*gotalk.Sock, []byte) ([]byte, error) {
		return nil, gotalk.RetryAfter(10*time.Millisecond, "later")
	})
	plain("fail", func(*gotalk.Sock, []byte) ([]byte, error) { return nil, gotalk.NewError(gotalk.CodeNotFound, "no") })
	plain("panic", func(*gotalk.Sock, []byte) ([]byte, error) { panic("secret") })
	plain("exit", func(*gotalk.Sock, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil })
	h.HandleBufferRequestContext("wait", func(ctx context.Context, _ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		return b, wait(ctx)
	})
	h.HandleBufferRequestContext("ask", func(ctx context.Context, s *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return s.BufferRequestContext(ctx, "echo", b)
	})
	h.HandleBufferNotification("note", func(*gotalk.Sock, string, []byte) {})
	h.HandleBufferNotification("sleep", func(_ *gotalk.Sock, _ string, b []byte) { nap(b) })

	h.HandleStream("copy", func(_ context.Context, st *gotalk.Stream) error {
		for b, err := range st.All() {
			if err == nil {
				err = st.Send(b)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	h.HandleStreamRequest("old", func(_ *gotalk.Sock, _ string, rch chan []byte, out io.WriteCloser) error {
		for b := range rch {
			if _, err := out.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
	h.HandleStream("pour", func(_ context.Context, st *gotalk.Stream) error {
		for i := range pouredParts {
			if err := st.Send(numbered(i, 1000)); err != nil {
				return err
			}
		}
		return nil
	})
	h.HandleStream("stay", func(ctx context.Context, st *gotalk.Stream) error { return wait(ctx) })
	h.HandleStream("fail", func(_ context.Context, st *gotalk.Stream) error {
		st.Send([]byte("first"))
		return gotalk.NewError(gotalk.CodeAborted, "enough")
	})
	h.HandleStream("panic", func(context.Context, *gotalk.Stream) error { panic("secret") })
	h.HandleStream("exit", func(context.Context, *gotalk.Stream) error { runtime.Goexit(); return nil })
	return h
}

func (x *play) largeResult() int {
	if x.small || x.slow {
		return 3500
	}
	return 150_000
}
