package gotalk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	defaultMinBackoff = 100 * time.Millisecond
	defaultMaxBackoff = 5 * time.Second
	defaultMaxQueued  = 1000

	// loadInterval is how often peers are asked for their load where there are several to choose among.
	loadInterval = time.Second

	// stableTime is how long a connection must have lasted for the next attempt to be the first of a row again, unless it
	// has answered a request.
	stableTime = time.Second
)

// Client stays connected to one server or to several. It connects in the background, connects again when a connection is
// lost or the server shuts down, and makes each call on the connection whose peer has the least to do.
//
// The Sock in it has no connection of its own. Its methods for calls (Request, BufferRequest, Notify, OpenStream and so on),
// also where it is passed as a *Sock to Call or Op.Call, choose one of the Client's connections. Its fields, such as
// Handlers and Limits, are what the Sock of each connection starts with; handlers get that Sock, which is another one for
// each connection. They and the Client's own fields are set between NewClient and Start.
//
// While nothing is connected calls wait until their context ends, as many as MaxQueued. A call whose connection ends before it
// was sent, and one that a peer refuses with "try again" (also because it shuts down), goes to another or to the next
// connection. One that was sent may have run: it fails with an error that matches ErrSockClosed, unless it is idempotent
// (see Client.Idempotent and the function Idempotent). Then it is made again on the next connection, until its context
// ends, or for a minute if that has no deadline. A notification that was sent may be lost. A stream stays on one
// connection and ends with it.
//
// All methods may be called concurrently.
type Client struct {
	*Sock

	// Addrs are the servers, one connection to each: "tcp://host:port" or just "host:port", "tls://host:port",
	// "unix:///path", and "ws://host/path" or "wss://host/path" for a WebSocketServer. SetAddrs changes them later.
	Addrs []string

	// MinBackoff and MaxBackoff bound how long the Client waits before it connects again: a random time below MinBackoff, then
	// below twice that and so on up to MaxBackoff. After a connection that has lasted a second, or answered a request, that
	// begins anew. 0 means 100 ms and 5 s.
	MinBackoff, MaxBackoff time.Duration

	// MaxQueued is how many calls may wait for a connection at the same time; one more fails with CodeUnavailable. 0
	// means 1000.
	MaxQueued int

	// Idempotent tells which operations can run twice without harm, so that a call that may have run can be made again when
	// its connection is lost. nil means none, but for calls marked by the function Idempotent.
	Idempotent func(op string) bool

	// TLSConfig is for tls and wss; nil, or one without RootCAs, trusts what TLSCertPool returns.
	TLSConfig *tls.Config

	// Header is sent with the requests that WebSockets begin with.
	Header http.Header

	// OnState is told what happens to the connections, for each address in order, for several addresses concurrently. An
	// address goes on when OnState has returned.
	OnState func(ClientEvent)

	// Dial makes the connections below TLS and WebSockets, in place of a net.Dialer. network is "tcp" or "unix".
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	ctx    context.Context // ends with Close or Shutdown
	cancel context.CancelFunc

	mu      sync.Mutex
	started bool
	broken  error // why it could not be started
	closed  bool
	peers   map[string]*clientPeer
	members []*member          // connections that calls can be made on, as far as is known
	links   map[*link]struct{} // all connections, also those that only finish what is under way
	waiting int                // calls that wait for a connection
	changed chan struct{}      // closed when there is something new for them; nil when nobody waits
}

// ClientState says what a Client, or one of its addresses, is about.
type ClientState uint8

const (
	ClientIdle       ClientState = iota // Start was not called yet
	ClientConnecting                    // an attempt to connect is being made
	ClientConnected                     // calls can be made
	ClientAway                          // the connection is lost or could not be made; another attempt follows
	ClientClosed                        // for good
)

// String returns "idle", "connecting", "connected", "away" or "closed".
func (s ClientState) String() string {
	names := [...]string{"idle", "connecting", "connected", "away", "closed"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("ClientState(%d)", uint8(s))
}

// ClientEvent is what Client.OnState is told.
type ClientEvent struct {
	State ClientState
	Addr  string        // as in Client.Addrs
	Err   error         // ClientAway: why
	Wait  time.Duration // ClientAway: until the next attempt
}

// NewClient returns a Client for those addresses, see Client.Addrs, with DefaultHandlers. Start is to be called next, and
// Close in the end.
func NewClient(addrs ...string) *Client {
	c := &Client{Sock: NewSock(DefaultHandlers), Addrs: addrs, peers: map[string]*clientPeer{}, links: map[*link]struct{}{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.Sock.client = c
	return c
}

// Start begins to connect, in the background. It fails if an address makes no sense or it was called before. If its error
// is not looked at, calls return it.
func (c *Client) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrSockClosed
	case c.started:
		return errors.New("gotalk: Client.Start was called already")
	}
	peers, err := c.newPeers(c.Addrs)
	if c.broken = err; err != nil {
		return err
	}
	c.started = true
	c.startLocked(peers)
	return nil
}

// SetAddrs changes the addresses, at any time. Connections to those that are no longer there finish what is under way.
// It fails, and changes nothing, if an address makes no sense or the Client is closed.
func (c *Client) SetAddrs(addrs ...string) error {
	peers, err := c.newPeers(addrs)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrSockClosed
	}
	c.Addrs = slices.Clone(addrs)
	var gone []*link
	if c.started {
		for addr, p := range c.peers {
			if peers[addr] != nil {
				delete(peers, addr) // the old one goes on
				continue
			}
			p.cancel()
			delete(c.peers, addr)
			if p.member != nil {
				gone = append(gone, p.member.link)
				c.forgetLocked(p)
			}
		}
		c.startLocked(peers)
	}
	c.mu.Unlock()
	for _, l := range gone {
		l.drain()
	}
	return nil
}

func (c *Client) newPeers(addrs []string) (map[string]*clientPeer, error) {
	peers := map[string]*clientPeer{}
	for _, addr := range addrs {
		t, err := parseTarget(addr)
		if err != nil {
			return nil, err
		}
		peers[addr] = &clientPeer{client: c, addr: addr, target: t}
	}
	return peers, nil
}

// startLocked begins to connect to more peers.
func (c *Client) startLocked(more map[string]*clientPeer) {
	maps.Copy(c.peers, more)
	every := c.heartbeatEveryLocked()
	for _, m := range c.members {
		m.askEvery(every)
	}
	for _, p := range more {
		p.state = ClientConnecting
		p.ctx, p.cancel = context.WithCancel(c.ctx)
		go p.run() // ends with p.ctx
	}
}

// heartbeatEveryLocked is how often the Sock of a connection sends heartbeats.
func (c *Client) heartbeatEveryLocked() time.Duration {
	every := c.heartbeatInterval()
	if every == defaultHeartbeat && len(c.peers) > 1 {
		every = loadInterval
	}
	return every
}

// State says what the Client is about: ClientConnected when calls can be made on at least one connection.
func (c *Client) State() ClientState {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ClientClosed
	case !c.started:
		return ClientIdle
	case slices.ContainsFunc(c.members, func(m *member) bool { return m.link.isUsable() }):
		return ClientConnected
	}
	for _, p := range c.peers {
		if p.state == ClientConnecting {
			return ClientConnecting
		}
	}
	return ClientAway
}

// WaitReady waits until a call can be made at once. It fails when ctx ends, with an error that wraps ctx.Err() and says why
// there is no connection, and when the Client is closed.
func (c *Client) WaitReady(ctx context.Context) error {
	m, err := c.pick(ctx, nil, false)
	if err != nil {
		return err
	}
	m.release()
	return nil
}

// Close ends all connections at once, and calls under way and waiting with ErrSockClosed. Closing again does nothing.
func (c *Client) Close() error {
	for _, l := range c.end() {
		l.close(closing{code: noProtocolError})
	}
	return nil
}

// Shutdown takes no more calls, waits until those under way have their results and those of the peers are answered, and
// closes the connections. When ctx ends before, they are closed at once and ctx.Err() is returned. Calls that wait for a
// connection fail with ErrSockClosed.
func (c *Client) Shutdown(ctx context.Context) error {
	links := c.end()
	for _, l := range links {
		l.drain()
	}
	return awaitGone(ctx, links)
}

// end lets nothing new begin, and returns the connections that there are.
func (c *Client) end() []*link {
	c.mu.Lock()
	c.closed = true
	c.cancel()
	c.announceLocked()
	c.mu.Unlock()
	return c.allLinks() // no more are added
}

func (c *Client) allLinks() []*link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.links))
}

// Context returns a context that ends when the Client is closed.
func (c *Client) Context() context.Context { return c.ctx }

// IsClosed tells whether Close or Shutdown was called.
func (c *Client) IsClosed() bool { return c.ctx.Err() != nil }

// announceLocked lets calls that wait look again.
func (c *Client) announceLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// changeLocked returns a channel that is closed at the next change.
func (c *Client) changeLocked() chan struct{} {
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}
