package main

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
)

// Peer is a library, or a way to use one, that is compared. Each has a file of its own, which registers it.
type Peer struct {
	Name  string // as in the head of the table
	Group Group  // where it stands there

	// Does says whether it can do a work. Those that it does make use of Dial or Receive.
	Does func(w *Work) bool

	// Serve serves the connections of s.Listener, in a process of its own, until that is killed. Everything that it can
	// do is served at once.
	Serve func(s *Server) error

	// Dial connects to a server. It may be called many times for one.
	Dial func(addr string) (*Conn, error)

	// Receive connects to a server, only to receive what that broadcasts: got is called with each payload, which it does
	// not keep. The connection is open when Receive returns, and lost is called when it ends.
	Receive func(addr string, got func(b []byte), lost func(error)) error
}

// Group says which peers stand together, in this order.
type Group int

const (
	Ours     Group = iota // gotalk in its forms
	Theirs                // other libraries
	Ceilings              // hand-written programs: what the machine can do
)

// Conn is what a peer's client can do, nil for what it cannot. Echo and Call are used concurrently.
type Conn struct {
	// Echo sends in and returns the answer. dst has room for it, and may be used by peers that have a way to say where an
	// answer goes; it may also be ignored. in and dst are the caller's again when Echo returns.
	Echo func(in, dst []byte) ([]byte, error)

	// Call sends a struct and returns the answer, whose N is one more.
	Call func(in Item) (Item, error)

	// Notify sends b without an answer. It is called by one goroutine.
	Notify func(b []byte) error

	// Flush is called after the last Notify. nil where nothing is to be done.
	Flush func() error
}

// Item is the small struct of the calls that carry one.
type Item struct {
	Name string
	Text string
	N    int
}

// answer is what all servers answer a Call with.
func (i Item) answer() Item {
	i.N++
	return i
}

// Server is what a peer's server gets.
type Server struct {
	Listener net.Listener

	arrived   atomic.Int64
	open      atomic.Int64 // connections that were ever open to be broadcast to
	broadcast atomic.Pointer[func(b []byte) error]
}

// Arrived counts a notification. A peer's server calls it, concurrently if it likes, with each that it gets.
func (s *Server) Arrived(b []byte) {
	if len(b) == noteSize && b[0] == noteFirst && b[noteSize-1] == noteLast { // others are missed when they are counted
		s.arrived.Add(1)
	}
}

const (
	noteSize  = 25
	noteFirst = 'n'
	noteLast  = '.'
)

var peers []*Peer

// register makes a peer known. Each peer's file calls it in an init function.
func register(p *Peer) {
	peers = append(peers, p)
	slices.SortStableFunc(peers, func(a, b *Peer) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Name, b.Name))
	})
}

func peerNamed(name string) (*Peer, error) {
	for _, p := range peers {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("there is no peer %q", name)
}

// does is for Peer.Does of those that can do all works of some kinds.
func does(kinds ...Kind) func(*Work) bool {
	return func(w *Work) bool { return slices.Contains(kinds, w.Kind) }
}
