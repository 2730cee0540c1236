package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Times says how long a peer is measured at a work: at least one call is made each time.
type Times struct{ Warm, Run time.Duration }

// Result is what was measured.
type Result struct {
	Values []float64 // for Work.Rows
	Calls  int64     // that they are of
	CPU    float64   // seconds per million calls, user and system, client and server; 0 if that says nothing
	Allocs float64   // per call, client and server; as CPU
}

// measure measures a peer, whose server is s, at a work.
func measure(s *child, p *Peer, w *Work, t Times) (Result, error) {
	switch w.Kind {
	case Idle:
		return measureIdle(s, p, w)
	case Broadcast:
		return measureBroadcast(s, p, w, t)
	}
	conns := make([]*Conn, w.Conns)
	for i := range conns {
		var err error
		if conns[i], err = p.Dial(s.addr); err != nil {
			return Result{}, err
		}
	}
	switch w.Kind {
	case Beside:
		return measureBeside(conns[0], w, t)
	case Notify:
		return measureNotify(s, conns[0], t)
	case Call:
		return measureRate(s, w, t, func(i int) func(n int) error { return caller(conns[i/w.InFlight]) })
	default:
		return measureRate(s, w, t, func(i int) func(n int) error { return echoer(conns[i/w.InFlight], w.Bytes) })
	}
}

// echoer returns a function that makes one call and checks the answer.
func echoer(c *Conn, size int) func(n int) error {
	in, dst := pattern(size, 0), make([]byte, size)
	return func(n int) error {
		mark(in, n)
		out, err := c.Echo(in, dst)
		if err != nil {
			return err
		}
		if len(out) != size || out[0] != in[0] || out[size-1] != in[size-1] {
			return errors.New("the answer is wrong")
		}
		return nil
	}
}

func caller(c *Conn) func(n int) error {
	return func(n int) error {
		in := Item{Name: "item", Text: itemText, N: n}
		out, err := c.Call(in)
		if err == nil && out != in.answer() {
			err = errors.New("the answer is wrong")
		}
		return err
	}
}

// measureRate counts calls. worker returns what the i-th goroutine does for its n-th call.
func measureRate(s *child, w *Work, t Times, worker func(i int) func(n int) error) (Result, error) {
	calls := make([]func(n int) error, w.Conns*w.InFlight)
	for i := range calls {
		calls[i] = worker(i)
	}
	if _, _, err := together(t.Warm, calls); err != nil {
		return Result{}, err
	}
	before, err := s.usage()
	if err != nil {
		return Result{}, err
	}
	n, took, err := together(t.Run, calls)
	if err != nil {
		return Result{}, err
	}
	return costs(s, before, n, Result{Values: []float64{float64(n) / took.Seconds()}})
}

// costs fills in what n calls have used since before.
func costs(s *child, before usage, n int64, r Result) (Result, error) {
	after, err := s.usage()
	r.Calls = n
	r.CPU = float64(after.CPU-before.CPU) / 1e9 / float64(n) * 1e6
	r.Allocs = float64(after.Mallocs-before.Mallocs) / float64(n)
	return r, err
}

// together has each of the functions called over and over by a goroutine of its own until the time is over, and returns the
// number of calls, and how long it took until the last was done.
func together(d time.Duration, calls []func(n int) error) (int64, time.Duration, error) {
	var (
		stop  atomic.Bool
		total atomic.Int64
		wg    sync.WaitGroup
		start = make(chan struct{})
		errs  = make(chan error, len(calls))
	)
	for i, call := range calls {
		wg.Go(func() {
			<-start
			n := 0
			for more := true; more; more = !stop.Load() {
				if err := call(n<<8 | i&0xff); err != nil {
					errs <- err
					stop.Store(true)
					break
				}
				n++
			}
			total.Add(int64(n))
		})
	}
	began := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	close(start)
	wg.Wait()
	took := time.Since(began)
	select {
	case err := <-errs:
		return 0, 0, err
	default:
		return total.Load(), took, nil
	}
}

// measureNotify counts notifications until all have arrived.
func measureNotify(s *child, c *Conn, t Times) (Result, error) {
	b := make([]byte, noteSize)
	b[0], b[noteSize-1] = noteFirst, noteLast
	sent := int64(0)
	send := func(d time.Duration) error {
		for began := time.Now(); ; {
			for range 64 { // looking at the clock costs something
				if err := c.Notify(b); err != nil {
					return err
				}
				sent++
			}
			if time.Since(began) >= d {
				break
			}
		}
		if c.Flush != nil {
			if err := c.Flush(); err != nil {
				return err
			}
		}
		arrived, err := s.number(fmt.Sprint("arrived ", sent))
		if err == nil && arrived != sent {
			err = fmt.Errorf("%d of %d notifications arrived", arrived, sent)
		}
		return err
	}
	if err := send(t.Warm); err != nil {
		return Result{}, err
	}
	before, err := s.usage()
	if err != nil {
		return Result{}, err
	}
	warm, began := sent, time.Now()
	if err := send(t.Run); err != nil {
		return Result{}, err
	}
	took, n := time.Since(began), sent-warm
	return costs(s, before, n, Result{Values: []float64{float64(n) / took.Seconds()}})
}

// measureBeside measures how long small calls take, one after the other, while each 100 ms a large one is made on the same
// connection, or when the one before is answered. How many large ones that were is said too: a peer that makes fewer of
// them has it easier. A small call is made each millisecond. While one takes longer those that would have been made meanwhile
// count with what they would have waited: otherwise a peer that holds up everything would be slow just once each time.
func measureBeside(c *Conn, w *Work, t Times) (Result, error) {
	const every, pace = 100 * time.Millisecond, time.Millisecond
	small, large := echoer(c, w.Bytes), echoer(c, w.Large)
	for n := range 2 { // warms up
		if err := errors.Join(small(n), large(n)); err != nil {
			return Result{}, err
		}
	}
	done := make(chan struct{})
	larges, largeErr := 0, make(chan error, 1)
	began := time.Now()
	go func() { // ends when done is closed; largeErr says so
		next := time.NewTicker(every)
		defer next.Stop()
		for {
			if err := large(larges); err != nil {
				largeErr <- err
				return
			}
			larges++
			select {
			case <-done:
				largeErr <- nil
				return
			case <-next.C:
			}
		}
	}()
	var took []time.Duration
	var err error
	for err == nil && (len(took) == 0 || time.Since(began) < t.Run) {
		time.Sleep(pace - time.Since(began)%pace)
		from := time.Now()
		err = small(len(took))
		for d := time.Since(from); d > 0; d -= pace {
			took = append(took, d)
		}
	}
	close(done)
	if err = errors.Join(err, <-largeErr); err != nil {
		return Result{}, err
	}
	seconds := time.Since(began).Seconds()
	slices.Sort(took)
	return Result{
		Values: []float64{quantile(took, 0.5), quantile(took, 0.99), float64(larges) / seconds},
		Calls:  int64(len(took)),
	}, nil
}

// quantile returns what so much of sorted is not above, in seconds.
func quantile(sorted []time.Duration, q float64) float64 {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Seconds()
}
