package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
)

// ledger knows what has run, and which notifications have come. Both sides of all connections share it.
type ledger struct {
	mu    sync.Mutex
	runs  map[string]struct{}
	notes map[uint64]*arrived // by numbers.id
}

// arrived is what has come of the notifications of one end of a connection.
type arrived struct{ last, count uint64 }

// run notes that a call has run. It tells whether that is the first time.
func (g *ledger) run(nonce string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, again := g.runs[nonce]; again {
		return false
	}
	if g.runs == nil {
		g.runs = map[string]struct{}{}
	}
	g.runs[nonce] = struct{}{}
	return true
}

func (g *ledger) hasRun(nonce string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.runs[nonce]
	return ok
}

// note takes a notification that has come, and says what is wrong with that.
func (g *ledger) note(payload []byte) error {
	n, err := parseNumbered(payload)
	if err != nil || n.id == 0 {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.notes[n.id]
	if a == nil {
		if g.notes == nil {
			g.notes = map[uint64]*arrived{}
		}
		a = new(arrived)
		g.notes[n.id] = a
	}
	switch {
	case n.number <= a.last:
		return fmt.Errorf("number %d has come after number %d", n.number, a.last)
	case a.count < n.before:
		return fmt.Errorf("%d have come before number %d, and %d were sent", a.count, n.number, n.before)
	}
	a.last = n.number
	a.count++
	return nil
}

// numbered is what a notification says. Those without an id have no order.
type numbered struct {
	id     uint64 // of the end of the connection that sends it
	number uint64 // from 1 on
	before uint64 // how many were sent before it, for certain
}

func (n numbered) payload() []byte {
	b := binary.BigEndian.AppendUint64(nil, n.id)
	b = binary.BigEndian.AppendUint64(b, n.number)
	return binary.BigEndian.AppendUint64(b, n.before)
}

func parseNumbered(b []byte) (numbered, error) {
	if len(b) != 24 {
		return numbered{}, fmt.Errorf("one of %d bytes has come", len(b))
	}
	return numbered{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, nil
}

// numbers numbers the notifications that one end of a connection sends.
type numbers struct {
	mu     sync.Mutex // held while one is sent
	id     uint64     // 0 for a Client, whose connections come and go
	number uint64
	before uint64
}

func newNumbers(rng *rand.Rand) *numbers { return &numbers{id: rng.Uint64() | 1} }

// next returns what the next notification says. done is to be called when it was sent. While another one is being sent it
// has no number, so as not to wait.
func (n *numbers) next() (note numbered, done func(error)) {
	if n.id == 0 || !n.mu.TryLock() {
		return numbered{}, func(error) {}
	}
	n.number++
	return numbered{n.id, n.number, n.before}, func(err error) {
		if err == nil {
			n.before++
		}
		n.mu.Unlock()
	}
}
