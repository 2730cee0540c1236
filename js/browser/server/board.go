package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// board tells what has happened, by name, so that a test need not guess how long it takes until it has.
type board struct {
	mu     sync.Mutex
	events map[string]*event
	counts map[string]*atomic.Int64
}

// event is to be read when done is closed.
type event struct {
	done chan struct{}
	At   float64 `json:"at"` // in milliseconds since 1970, as in JavaScript
	What string  `json:"what"`
}

var events = board{events: map[string]*event{}, counts: map[string]*atomic.Int64{}}

func now() float64 { return float64(time.Now().UnixMicro()) / 1000 }

func (b *board) get(name string) *event {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.events[name]
	if e == nil {
		e = &event{done: make(chan struct{})}
		b.events[name] = e
	}
	return e
}

// mark says that something has happened. Only the first time counts.
func (b *board) mark(name, what string) {
	e := b.get(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-e.done:
	default:
		e.At, e.What = now(), what
		close(e.done)
	}
}

// await waits until something has happened.
func (b *board) await(ctx context.Context, name string) (*event, error) {
	e := b.get(name)
	select {
	case <-e.done:
		return e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// count returns a counter that begins at 0.
func (b *board) count(name string) *atomic.Int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.counts[name]
	if n == nil {
		n = &atomic.Int64{}
		b.counts[name] = n
	}
	return n
}
