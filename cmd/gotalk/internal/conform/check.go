package conform

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// check is something that PROTOCOL.md says and that can be tried.
type check struct {
	name    string
	section string // of PROTOCOL.md
	says    string // what a peer must do, in a sentence
	needs   string // what it must offer for that: see needed
	run     func(t *T)
}

// group is checks about one thing.
type group struct {
	name   string
	checks []check
}

// Classes of failures.
const (
	classWrong   = "wrong"   // something came, but not that
	classClosed  = "closed"  // the connection ended
	classSilence = "silence" // nothing came
	classGone    = "gone"    // the peer takes no connections any more
)

// failure is why a check did not pass. Checks panic with it.
type failure struct{ Class, Expected, Came string }

// T is a check that runs: its connections, and what went over them. Reading is for the check's own goroutine.
type T struct {
	*target
	deadline time.Time
	conns    []*conn

	mu       sync.Mutex
	events   []event
	warnings []string
	skipped  string
	sending  sync.WaitGroup
}

type event struct {
	conn int
	dir  byte
	text string
}

// maxEvents is how many messages of a check are kept for the report: as many of the first, and of the last.
const maxEvents = 20

func (t *T) log(conn int, dir byte, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, event{conn, dir, escape(text)})
	if len(t.events) > 3*maxEvents {
		t.events = append(t.events[:maxEvents+1], t.events[len(t.events)-maxEvents:]...)
		t.events[maxEvents] = event{0, ' ', "…"}
	}
}

func (t *T) fail(class, expected, came string, args ...any) {
	panic(failure{class, expected, fmt.Sprintf(came, args...)})
}

// warn is for what a peer should do, but need not.
func (t *T) warn(format string, args ...any) {
	t.warnings = append(t.warnings, fmt.Sprintf(format, args...))
}

type skip string

// skip ends a check that has shown nothing.
func (t *T) skip(why string) { panic(skip(why)) }

// do runs f, which may fail, within the time that a check has.
func (g *target) do(f func(t *T)) (t *T, failed *failure) {
	t = &T{target: g, deadline: time.Now().Add(g.options.Timeout)}
	defer func() {
		for _, c := range t.conns {
			c.nc.Close()
		}
		t.sending.Wait() // ends when the connections have
	}()
	defer func() {
		switch v := recover().(type) {
		case nil:
		case failure:
			failed = &v
		case skip:
			t.skipped = string(v)
		default:
			panic(fmt.Sprintf("%v\n%s", v, debug.Stack()))
		}
	}()
	f(t)
	return t, nil
}

// dial connects, without a word.
func (t *T) dial() *conn {
	c := t.dialRaw()
	if t.address.url == nil {
		return c
	}
	fmt.Fprint(c.nc, t.address.upgradeRequest(t.origin(), nil))
	r, err := readUpgrade(c.br)
	if err != nil {
		c.broken("status 101", err)
	}
	if r.StatusCode != 101 {
		t.fail(classWrong, "status 101, which begins a WebSocket", "%s", r.Status)
	}
	c.begin()
	return c
}

func (t *T) origin() string {
	if t.options.Origin != "" {
		return t.options.Origin
	}
	return t.address.origin()
}

// begin makes the connection a WebSocket.
func (c *conn) begin() { c.ws = &frames{br: c.br, control: c.onControl, fin: true} }

// dialRaw connects, and begins no WebSocket.
func (t *T) dialRaw() *conn {
	ctx, cancel := context.WithDeadline(context.Background(), t.deadline)
	defer cancel()
	nc, err := t.address.dial(ctx)
	if err != nil {
		t.fail(classGone, "that the peer takes connections", "%s", cause(err))
	}
	nc.SetDeadline(t.deadline)
	c := &conn{t: t, n: len(t.conns) + 1, nc: nc, br: bufio.NewReaderSize(nc, 32<<10)}
	t.conns = append(t.conns, c)
	return c
}

// connect connects and exchanges versions.
func (t *T) connect() *conn { return t.connectAnd() }

// connectAnd sends messages right behind the version.
func (t *T) connectAnd(messages ...sent) *conn {
	c := t.dial()
	c.send(append([]sent{{header: version}}, messages...)...)
	c.wantVersion()
	return c
}

func (c *conn) wantVersion() {
	if v := c.readVersion(); v != version {
		c.t.fail(classWrong, "the peer's version, 01", "%s", escape(v))
	}
}

// meanwhile runs f, which only sends, while the check reads.
func (t *T) meanwhile(f func()) {
	t.sending.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				if _, ok := v.(failure); !ok {
					panic(v)
				}
			}
		}()
		f()
	})
}

// tcp returns the connection below, if it is one of TCP.
func (c *conn) tcp() *net.TCPConn {
	nc, _ := c.nc.(*net.TCPConn)
	return nc
}
