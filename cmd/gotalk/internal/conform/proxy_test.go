package conform_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// A broken peer is ours behind a proxy that breaks it: it sees the messages of both sides and passes on what it likes.

// msg is a message that passes.
type msg struct {
	t        gotalk.MsgType
	id, name string
	wait     uint32
	payload  string
	raw      string // all of it
}

// bytes encodes m anew.
func (m msg) bytes() string {
	return string(gotalk.MakeMsg(m.t, m.id, m.name, m.wait, uint32(len(m.payload)))) + m.payload
}

func (m msg) is(types string) bool { return strings.ContainsRune(types, rune(m.t)) }

// sides is what a fault does on a connection. Each function returns what is passed on in the place of the message, or "";
// nil passes on all. hangUp ends the connection.
type sides struct {
	in, out   func(m msg) string // from the one who checks, and from the peer
	back      func(m msg) string // what the proxy itself answers to a message from the one who checks
	inVersion func(v string) string
	version   func(v string) string // of the peer
	chunk     func(b []byte) []byte // bytes from the one who checks as they come, before they are taken apart
	open      bool                  // do not end with the peer's side
}

const hangUp = "\x00hang up"

// proxy stands before a peer.
type proxy struct {
	net.Listener
	to    string
	fault func(p *proxy) sides // of a new connection

	mu    sync.Mutex
	conns []net.Conn
}

func startProxy(t testing.TB, to string, fault func(p *proxy) sides) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{Listener: l, to: to, fault: fault}
	go func() { // ends with die
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(nc)
		}
	}()
	t.Cleanup(p.die)
	return p
}

// die is what happens to a program that panics.
func (p *proxy) die() {
	p.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, nc := range p.conns {
		nc.Close()
	}
}

func (p *proxy) serve(nc net.Conn) {
	peer, err := net.Dial("tcp", p.to)
	if err != nil {
		nc.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, nc, peer)
	p.mu.Unlock()
	s := p.fault(p)
	done := make(chan struct{})
	go func() { // ends with the connections
		defer close(done)
		defer peer.Close()
		defer func() {
			if !s.open {
				nc.Close()
			}
		}()
		var from io.Reader = nc
		if s.chunk != nil {
			from = &chunks{nc, s.chunk}
		}
		pass(bufio.NewReaderSize(from, 64<<10), peer, s.inVersion, func(m msg) string {
			if s.back != nil && m.is("rspRSEenhf") {
				if answer := s.back(m); answer != m.raw {
					io.WriteString(nc, answer)
				}
			}
			if s.in != nil {
				return s.in(m)
			}
			return m.raw
		})
	}()
	pass(bufio.NewReaderSize(peer, 64<<10), nc, s.version, s.out)
	if !s.open {
		nc.(*net.TCPConn).CloseWrite()
		go io.Copy(io.Discard, nc)
	}
	<-done
	nc.Close()
}

type chunks struct {
	nc net.Conn
	f  func([]byte) []byte
}

func (c *chunks) Read(b []byte) (int, error) {
	n, err := c.nc.Read(b)
	if n > 0 {
		n = copy(b, c.f(b[:n]))
	}
	return n, err
}

// pass passes messages on until one side ends.
func pass(from *bufio.Reader, to io.Writer, version func(string) string, f func(m msg) string) {
	write := func(s string) bool {
		if s == hangUp {
			return false
		}
		_, err := io.WriteString(to, s)
		return err == nil
	}
	v := make([]byte, 2)
	n, err := io.ReadFull(from, v)
	text := string(v[:n])
	if version != nil {
		text = version(text)
	}
	if !write(text) || err != nil {
		return
	}
	for {
		var raw bytes.Buffer
		m, err := readMsg(io.TeeReader(from, &raw))
		if err != nil {
			write(raw.String())
			io.Copy(to, from)
			return
		}
		m.raw = raw.String()
		if f != nil {
			m.raw = f(m)
		}
		if !write(m.raw) {
			return
		}
	}
}

func readMsg(r io.Reader) (m msg, err error) {
	var size uint32
	m.t, m.id, m.name, m.wait, size, err = gotalk.ReadMsg(r, nil)
	if err != nil || m.t == gotalk.MsgTypeHeartbeat || m.t == gotalk.MsgTypeProtocolError {
		return m, err
	}
	var payload bytes.Buffer
	_, err = io.CopyN(&payload, r, int64(size))
	m.payload = payload.String()
	return m, err
}
