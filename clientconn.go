package gotalk

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// clientPeer is an address of a Client's, which one goroutine keeps connected.
type clientPeer struct {
	client *Client
	addr   string
	target target
	ctx    context.Context // ends with the Client, or when the address is taken away
	cancel context.CancelFunc

	// Guarded by client.mu.
	state  ClientState
	err    error   // of the last attempt
	member *member // the connection that calls are made on, or nil
}

// member is a connection of a Client's.
type member struct {
	link     *link
	away     chan goaway  // has room for one
	reserved atomic.Int32 // requests under way, or about to be
	answered atomic.Bool  // a request was answered

	// Guarded by Client.mu.
	avoid  time.Time // it has asked not to be tried again until then
	load   float64   // that the peer has said, 0 to 1
	loadAt int       // how many calls of ours were under way then
	slope  float64   // what one call adds to the load, judging by what it said
}

// target is where and how to connect.
type target struct {
	network, addr string
	secure        bool
	url           string // of a WebSocket
}

func parseTarget(addr string) (target, error) {
	bad := func(why string) (target, error) {
		return target{}, fmt.Errorf("gotalk: the address %q makes no sense: %s", addr, why)
	}
	scheme, rest, found := strings.Cut(addr, "://")
	if !found {
		scheme, rest = "tcp", addr
	}
	switch scheme {
	case "tcp", "tls":
		if _, port, err := net.SplitHostPort(rest); err != nil || port == "" {
			return bad(`host and port are wanted, such as "tcp://localhost:1234" or "localhost:1234"`)
		}
		return target{network: "tcp", addr: rest, secure: scheme == "tls"}, nil
	case "unix":
		if rest == "" {
			return bad(`a path is wanted, such as "unix:///run/server.sock"`)
		}
		return target{network: "unix", addr: rest}, nil
	case "ws", "wss":
		if u, err := url.Parse(addr); err != nil || u.Host == "" {
			return bad(`a URL is wanted, such as "ws://localhost:1234/gotalk/"`)
		}
		return target{url: addr}, nil
	}
	return bad("it may begin with tcp://, tls://, unix://, ws:// or wss://")
}

// run keeps the peer connected until its context ends.
func (p *clientPeer) run() {
	defer p.event(ClientEvent{State: ClientClosed})
	for tries := 0; ; tries++ {
		p.event(ClientEvent{State: ClientConnecting})
		m, err := p.connect()
		var wait time.Duration
		if err == nil {
			began := time.Now()
			p.event(ClientEvent{State: ClientConnected})
			wait, err = p.await(m)
			if m.answered.Load() || time.Since(began) >= stableTime {
				tries = 0
			}
			if wait < 0 || tries > 0 {
				wait = max(wait, p.backoff(tries))
			}
		} else {
			wait = p.backoff(tries)
		}
		if p.ctx.Err() != nil {
			return
		}
		p.event(ClientEvent{State: ClientAway, Err: err, Wait: wait})
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-p.ctx.Done():
			t.Stop()
			return
		}
	}
}

// await waits until no more calls can be made on a connection, and says why. wait is when to connect again, negative if
// the peer has not said.
func (p *clientPeer) await(m *member) (wait time.Duration, err error) {
	wait = -1
	away := func(g goaway) {
		after, jitter := g.delays()
		wait = after + rand.N(jitter+1)
		err = NewError(CodeUnavailable, "the server asks to connect again: "+g.Reason)
	}
	select {
	case g := <-m.away:
		away(g)
	case <-m.link.done.ch():
		err = m.link.causeOf()
		select {
		case g := <-m.away: // it has said so before
			away(g)
		default:
		}
	case <-p.ctx.Done():
		return wait, p.ctx.Err()
	}
	p.client.mu.Lock()
	p.client.forgetLocked(p)
	p.client.mu.Unlock()
	return wait, err
}

// forgetLocked makes no more calls on the peer's connection.
func (c *Client) forgetLocked(p *clientPeer) {
	c.members = slices.DeleteFunc(c.members, func(m *member) bool { return m == p.member })
	p.member = nil
}

// backoff draws the wait after so many attempts that have failed before.
func (p *clientPeer) backoff(tries int) time.Duration {
	c := p.client
	least := orDefault(c.MinBackoff, defaultMinBackoff)
	most := max(orDefault(c.MaxBackoff, defaultMaxBackoff), least)
	bound := most
	if tries < 32 && least < most>>tries {
		bound = least << tries
	}
	return rand.N(bound + 1)
}

// event tells OnState.
func (p *clientPeer) event(e ClientEvent) {
	c := p.client
	c.mu.Lock()
	p.state = e.State
	p.err = cmp.Or(e.Err, p.err)
	c.mu.Unlock()
	e.Addr = p.addr
	if c.OnState == nil {
		return
	}
	returned := false
	defer func() {
		if !returned {
			logTo(errorLogger(), c.Sock, "panic in OnState: %v", recover())
		}
	}()
	c.OnState(e)
	returned = true
}

// connect makes a connection and lets calls be made on it.
func (p *clientPeer) connect() (*member, error) {
	c := p.client
	m := &member{away: make(chan goaway, 1)}
	s := c.newSock()
	l, err := c.dial(p.ctx, p.target, s)
	if err != nil {
		return nil, err
	}
	m.link = l
	l.client = &linkClient{
		onAway: func(g goaway) { m.away <- g },
		onLoad: func(load uint16) { c.noteLoad(m, load) },
	}
	if err := s.connect(p.ctx, l, nil); err != nil {
		return nil, err
	}
	c.mu.Lock()
	if err := p.ctx.Err(); err != nil { // nobody knows of the connection yet
		c.mu.Unlock()
		l.close(closing{code: noProtocolError})
		return nil, err
	}
	if every := c.heartbeatEveryLocked(); every != s.heartbeatInterval() { // addresses have come or gone meanwhile
		m.askEvery(every)
	}
	c.links[l] = struct{}{}
	c.members = append(c.members, m)
	p.member, p.err = m, nil
	c.announceLocked()
	c.mu.Unlock()
	context.AfterFunc(l.context(), func() {
		c.mu.Lock()
		delete(c.links, l)
		c.mu.Unlock()
	})
	return m, nil
}

// newSock returns the Sock of a new connection.
func (c *Client) newSock() *Sock {
	v := c.Sock
	s := NewSock(v.handlers())
	s.UserData, s.StreamReqLimit, s.CloseHandler, s.OnHeartbeat = v.UserData, v.StreamReqLimit, v.closeHandler(), v.onHeartbeat()
	s.AutoRetryRequests, s.MaxTries, s.Limits, s.NoExtensions = v.AutoRetryRequests, v.MaxTries, v.Limits, v.NoExtensions
	s.around.add(v.around.load())
	c.mu.Lock()
	s.HeartbeatInterval = c.heartbeatEveryLocked()
	c.mu.Unlock()
	return s
}

// attemptTime is how long an attempt to connect may take up to where the version is to be said, for which
// Limits.HandshakeTimeout holds. A server that has been out of reach is found again by a new attempt.
const attemptTime = 10 * time.Second

// dial connects, up to where the version is to be said.
func (c *Client) dial(ctx context.Context, t target, s *Sock) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	if t.url != "" {
		return s.dialWebSocket(ctx, t.url, &WebSocketOptions{Header: c.Header, TLSConfig: c.TLSConfig}, dial)
	}
	conn, err := dial(ctx, t.network, t.addr)
	if err == nil && t.secure {
		conn, err = secured(ctx, conn, t.addr, c.TLSConfig)
	}
	if err != nil {
		return nil, dialError(t.network, t.addr, err)
	}
	return newLink(s, conn, unframed), nil
}

// secured makes a connection to addr one over TLS. If it fails the connection is closed.
func secured(ctx context.Context, conn net.Conn, addr string, config *tls.Config) (net.Conn, error) {
	config = clientConfig(config)
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	over := tls.Client(conn, config)
	if err := over.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return over, nil
}
