// Package chaos is a TCP proxy that does to connections what networks do: it delays, splits, joins, throttles and holds up
// what passes, loses connections without telling anybody, and resets them. It changes no byte, and what it delivers it
// delivers in order, so whatever comes out wrong at the other end was wrong before or after.
//
// All that is random comes from a seed. The faults that the bytes of a connection meet depend on the seed, on how many
// connections there were before, and on the number of bytes; only the lengths of waits are not part of that.
package chaos

import (
	"net"
	"sync"
	"sync/atomic"
)

// Proxy passes connections on to a server. Its methods may be called concurrently.
type Proxy struct {
	target   string
	seed     uint64
	weights  Weights
	listener net.Listener
	counts   [numFaults]atomic.Int64
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	count  uint64 // connections so far
	pairs  map[*pair]struct{}
}

// Listen returns a Proxy, on a free port of this machine's own, for the server at the address target. Close ends it. No
// weights mean that all passes.
func Listen(target string, seed uint64, w Weights) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, seed: seed, weights: w, listener: l, pairs: map[*pair]struct{}{}}
	p.running.Go(p.accept) // ends with the listener
	return p, nil
}

// Addr returns the address that the proxy listens at.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Counts returns how often each fault was chosen so far.
func (p *Proxy) Counts() (c Counts) {
	for i := range c {
		c[i] = p.counts[i].Load()
	}
	return c
}

// Close resets all connections, and returns when nothing of the proxy is left.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.pairs {
		c.end(true)
	}
	p.mu.Unlock()
	p.running.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		nc, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		number := p.count
		p.count++
		p.mu.Unlock()
		p.running.Go(func() { p.serve(nc.(*net.TCPConn), number) }) // ends with the connection
	}
}

// serve passes on what comes on a connection until both its ends have ended it.
func (p *Proxy) serve(client *net.TCPConn, number uint64) {
	nc, err := net.Dial("tcp", p.target)
	if err != nil {
		client.SetLinger(0)
		client.Close()
		return
	}
	c := &pair{proxy: p, client: client, server: nc.(*net.TCPConn), over: make(chan struct{})}
	p.mu.Lock()
	p.pairs[c] = struct{}{}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		c.end(true)
	}
	var both sync.WaitGroup
	both.Go(func() { c.pass(c.server, c.client, newChoices(p.seed, 2*number, p.weights)) })
	both.Go(func() { c.pass(c.client, c.server, newChoices(p.seed, 2*number+1, p.weights)) })
	both.Wait()
	c.end(false)
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}
