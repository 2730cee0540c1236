package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/internal/chaos"
)

// config says what a soak is like.
type config struct {
	length time.Duration
	every  time.Duration // between progress lines
	conns  int
	seed   uint64
	out    io.Writer
}

const (
	// leastSlack is how much later than it should something may end on a machine that is not busy.
	leastSlack = 5 * time.Second

	// mostMore is how long a soak goes on that has not seen everything when its time is over.
	mostMore = time.Minute
)

// soak is one run.
type soak struct {
	config
	tcp      *gotalk.Server
	web      *gotalk.WebSocketServer
	http     *http.Server
	proxies  []*chaos.Proxy // to tcp and to web
	handlers *gotalk.Handlers
	totals   totals
	ledger   ledger
	lag      lag

	accepted atomic.Uint64 // connections so far

	mu       sync.Mutex
	stopping bool // working is not added to any more
	working  sync.WaitGroup
	stop     chan struct{} // closed when no new work is to begin
}

// run soaks, and says what was wrong.
func run(c config) error {
	fmt.Fprintf(c.out, "soak: %d connections for %v, seed %d\n", c.conns, c.length, c.seed)
	before := measure()
	if err := soakOnce(c); err != nil {
		return fmt.Errorf("seed %d: %w", c.seed, err)
	}
	after, err := awaitLike(before)
	fmt.Fprintf(c.out, "soak: before %s, after %s\n", before, after)
	return err
}

func soakOnce(c config) error {
	s := &soak{config: c, stop: make(chan struct{})}
	defer s.heedLoggers()()
	s.handlers = s.newHandlers()
	if err := s.serve(); err != nil {
		return err
	}
	for i := range c.conns {
		s.begin(func() { s.connect(i) }) // ends when the soak stops
	}
	s.begin(s.broadcast)                    // likewise
	s.begin(func() { s.lag.watch(s.stop) }) // likewise
	s.goOn()
	err := s.end()
	fmt.Fprint(c.out, s.summary())
	return errors.Join(err, s.totals.verdict(), s.unseen())
}

// goOn waits until the time is over and all has been seen, and tells the state of things.
func (s *soak) goOn() {
	began := time.Now()
	told := began
	for {
		time.Sleep(50 * time.Millisecond)
		took := time.Since(began)
		if s.totals.failed() || took >= s.length && s.unseen() == nil || took >= s.length+mostMore {
			return
		}
		if time.Since(told) >= s.every {
			told = time.Now()
			fmt.Fprintf(s.out, "soak: %3.0f s, %d connected, %s\n", took.Seconds(),
				s.tcp.Stats().Connections+s.web.Stats().Connections, s.totals.line())
		}
	}
}

// unseen says what has not happened yet.
func (s *soak) unseen() error {
	missing := s.totals.unseen()
	for f, n := range s.faults() {
		if n == 0 {
			missing = append(missing, chaos.Fault(f).String())
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("these have never succeeded, or never happened: %s", strings.Join(missing, ", "))
	}
	return nil
}

// faults counts what the proxies have done.
func (s *soak) faults() (sum chaos.Counts) {
	for _, p := range s.proxies {
		for f, n := range p.Counts() {
			sum[f] += n
		}
	}
	return sum
}

func (s *soak) summary() string {
	var b strings.Builder
	b.WriteString(s.totals.table())
	b.WriteString("faults:")
	for f, n := range s.faults() {
		fmt.Fprintf(&b, " %d %s", n, chaos.Fault(f))
	}
	fmt.Fprintf(&b, "\n%d connections accepted; the machine was at most %v behind\n", s.accepted.Load(),
		time.Duration(s.lag.worst.Load()).Round(time.Millisecond))
	return b.String()
}

// end ends all, the servers first, while calls are still made, and says what does not end in its time.
func (s *soak) end() error {
	var failures []error
	shut := func(what string, shutdown func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.Background(), longestCall)
		defer cancel()
		began := time.Now()
		err := shutdown(ctx)
		took := time.Since(began)
		if took > longestCall+s.lag.slack() {
			s.totals.failf("the Shutdown of the %s took %v", what, took)
		}
		if err != nil && !(errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil) {
			s.totals.failf("the Shutdown of the %s ended with %v", what, err)
		}
	}
	var servers sync.WaitGroup
	servers.Go(func() { shut("Server", s.tcp.Shutdown) })
	servers.Go(func() { shut("WebSocketServer", s.web.Shutdown) })
	servers.Wait()

	s.mu.Lock()
	s.stopping = true
	close(s.stop)
	s.mu.Unlock()
	finished := make(chan struct{})
	go func() { // ends with the work
		s.working.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(2*longestCall + 2*s.lag.slack()):
		failures = append(failures, fmt.Errorf("calls do not end; the goroutines:\n%s", stacks()))
	}
	failures = append(failures, s.http.Close())
	for _, p := range s.proxies {
		failures = append(failures, p.Close())
	}
	return errors.Join(failures...)
}

// begin starts a goroutine, which has to end when the soak stops.
func (s *soak) begin(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.working.Go(f)
	}
}

func (s *soak) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// pause waits for a random time up to most, but not when the soak stops.
func (s *soak) pause(most time.Duration) {
	t := time.NewTimer(rand.N(most))
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.stop:
	}
}

// random returns a source of random numbers that follows from the seed.
func (s *soak) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, stream)) }

// heedLoggers takes what is logged for a failure if it is a panic. The function that it returns undoes that.
func (s *soak) heedLoggers() (undo func()) {
	forErrors, forHandlers := gotalk.ErrorLogger, gotalk.HandlerErrorLogger
	heed := func(_ *gotalk.Sock, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); strings.Contains(text, "panic") {
			s.totals.failf("%s", text)
		}
	}
	gotalk.ErrorLogger, gotalk.HandlerErrorLogger = heed, heed
	return func() { gotalk.ErrorLogger, gotalk.HandlerErrorLogger = forErrors, forHandlers }
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
