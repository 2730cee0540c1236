package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// audience is connections that receive.
type audience struct {
	received atomic.Int64
	wrong    atomic.Bool
	lost     chan error
}

// gather connects n times, and returns when the server has noticed.
func gather(s *child, p *Peer, n, size int) (*audience, error) {
	open, err := s.number("open")
	if err != nil {
		return nil, err
	}
	want := pattern(size, 0)
	a := &audience{lost: make(chan error, 1)}
	for range n {
		err := p.Receive(s.addr, func(b []byte) {
			if len(b) != size || b[0] != want[0] || b[size-1] != want[size-1] {
				a.wrong.Store(true)
			}
			a.received.Add(1)
		}, func(err error) {
			select {
			case a.lost <- err:
			default:
			}
		})
		if err != nil {
			return nil, err
		}
	}
	for noticed := open; noticed < open+int64(n); time.Sleep(time.Millisecond) {
		if noticed, err = s.number("open"); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// measureIdle measures the memory of the server's side of connections that do nothing. The first one is not counted, so
// that what the server needs once is not either.
func measureIdle(s *child, p *Peer, w *Work) (Result, error) {
	first, err := gather(s, p, 1, 1)
	if err != nil {
		return Result{}, err
	}
	before, err := s.number("memory")
	if err != nil {
		return Result{}, err
	}
	if before == 0 {
		return Result{}, errors.New("this system does not say how much memory a process has")
	}
	a, err := gather(s, p, w.Conns, 1)
	if err != nil {
		return Result{}, err
	}
	after, err := s.number("memory")
	if err != nil {
		return Result{}, err
	}
	select {
	case err = <-a.lost:
	case err = <-first.lost:
	default:
	}
	return Result{Values: []float64{float64(after-before) / float64(w.Conns)}}, err
}

// measureBroadcast counts what clients receive while the server broadcasts w.InFlight times, each time when all have got what
// came before.
func measureBroadcast(s *child, p *Peer, w *Work, t Times) (Result, error) {
	a, err := gather(s, p, w.Conns, w.Bytes)
	if err != nil {
		return Result{}, err
	}
	sent := int64(0)
	broadcast := func(n int) error {
		answer, err := s.ask(fmt.Sprint("broadcast ", w.Bytes, " ", w.InFlight))
		if err == nil && answer != "sent" {
			err = errors.New(answer)
		}
		for sent += int64(w.Conns * w.InFlight); err == nil && a.received.Load() < sent; {
			select {
			case err = <-a.lost:
			case <-time.After(100 * time.Microsecond):
			}
		}
		if a.wrong.Load() {
			err = errors.New("a broadcast is wrong")
		}
		return err
	}
	if _, _, err := together(t.Warm, []func(int) error{broadcast}); err != nil {
		return Result{}, err
	}
	before, err := s.usage()
	if err != nil {
		return Result{}, err
	}
	n, took, err := together(t.Run, []func(int) error{broadcast})
	if err != nil {
		return Result{}, err
	}
	n *= int64(w.Conns * w.InFlight)
	return costs(s, before, n, Result{Values: []float64{float64(n) / took.Seconds()}})
}
