package gotalk_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// helloErrors is the hello of a peer that understands gotalk:error.
const helloErrors = `n00cgotalk:hello0000000b{"error":1}`

// serverHello is what a server of ours says that it understands.
const serverHello = `{"cancel":1,"credit":262144,"error":1,"goaway":1,"meta":1,"split":131072}`

// refusalOf is what such a peer hears when it is refused.
func refusalOf(code, message string) []string {
	why := fmt.Sprintf(`{"code":%q,"message":%q}`, code, message)
	return []string{
		fmt.Sprintf("n00cgotalk:hello%08x%s", len(serverHello), serverHello),
		fmt.Sprintf("n00cgotalk:error%08x%s", len(why), why), "f00000000",
	}
}

// hearsRaw checks what comes next, extensions included.
func (p *peer) hearsRaw(want ...string) {
	for _, w := range want {
		r, err := p.read(w == "01")
		require.NoError(p, err)
		var m strings.Builder
		for _, f := range r.frames {
			m.Write(f)
		}
		require.Equal(p, w, m.String())
	}
}

// enters connects until the server lets it: it may not have noticed yet that another connection is gone.
func enters(t *testing.T, connect func() error) {
	settled(t, func() bool { return connect() == nil })
}

func TestMaxConnections(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	s.tcp.MaxConnections = 2
	first, second := s.client(nil), s.client(nil)
	err := gotalk.NewSock(nil).Connect("tcp", s.addr, nil)
	require.ErrorIs(t, err, gotalk.ErrAbnormal)
	require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
	require.ErrorContains(t, err, "the server has as many connections as it takes")

	old := s.mutePeer() // one that knows nothing but the protocol
	old.say("01")
	old.hearsRaw("01", "f00000000")
	old.hears("end")
	ours := s.mutePeer()
	ours.say("01" + helloErrors + request("aaaa", "echo", 0))
	ours.hearsRaw(append([]string{"01"}, refusalOf("unavailable", "the server has as many connections as it takes")...)...)
	ours.hears("end")
	alien := s.mutePeer()
	alien.say("\x00\xff" + "n00cgotalk:hello00000000" + "r")
	alien.hearsRaw("01", "f00000000")
	alien.hears("end")
	require.Equal(t, 2, s.tcp.Stats().Connections)

	_, err = second.BufferRequest("echo", nil) // those who are in notice nothing
	require.NoError(t, err)
	require.NoError(t, first.Close())
	third := quietSock(nil)
	defer third.Close()
	enters(t, func() error { return third.Connect("tcp", s.addr, nil) })
}

func TestMaxConnectionsOverTLS(t *testing.T) {
	server, roots := listenTLS(t, echoHandlers(), nil)
	server.MaxConnections = 1
	config := &tls.Config{RootCAs: roots}
	c := quietSock(nil)
	require.NoError(t, c.ConnectTLS("tcp", server.Addr(), nil, config))
	defer c.Close()
	err := gotalk.NewSock(nil).ConnectTLS("tcp", server.Addr(), nil, config)
	require.ErrorContains(t, err, "the server has as many connections as it takes")
	require.Equal(t, gotalk.CodeUnavailable, gotalk.CodeOf(err))
}

// A Client says why it is not connected.
func TestClientIsToldThatItIsRefused(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	s.tcp.MaxConnections = 1
	s.client(nil)
	c := gotalk.NewClient(s.addr)
	events := make(chan gotalk.ClientEvent, 100)
	c.OnState = func(e gotalk.ClientEvent) { events <- e }
	require.NoError(t, c.Start())
	defer c.Close()
	for e := range events {
		if e.State == gotalk.ClientAway {
			require.ErrorContains(t, e.Err, "the server has as many connections as it takes")
			return
		}
		require.Equal(t, gotalk.ClientConnecting, e.State)
	}
}

// comesFrom is a connection that comes from an address of the test's choice.
type comesFrom struct {
	net.Conn
	addr net.Addr
}

func (c comesFrom) RemoteAddr() net.Addr { return c.addr }

// connListener accepts the connections that it is given.
type connListener struct {
	*pipeListener
	from func() net.Addr
}

func (l connListener) Accept() (net.Conn, error) {
	conn, err := l.pipeListener.Accept()
	return comesFrom{conn, l.from()}, err
}

func TestMaxConnectionsPerAddr(t *testing.T) {
	var mu sync.Mutex
	var from net.Addr
	l := connListener{newPipeListener(), func() net.Addr { mu.Lock(); defer mu.Unlock(); return from }}
	server := gotalk.NewServer(echoHandlers(), nil, l)
	server.MaxConnectionsPerAddr = 1
	var open []*gotalk.Sock
	connect := func(addr net.Addr) error {
		mu.Lock()
		from = addr
		mu.Unlock()
		c := quietSock(nil)
		open = append(open, c)
		return c.ConnectReader(networked{l.dial()}, nil)
	}
	stopped := inBackground(server.Accept)
	defer func() {
		for _, c := range open {
			c.Close()
		}
		require.NoError(t, server.Close())
		<-stopped
	}()
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: len(open) + 1} }
	for _, addr := range []net.Addr{
		tcp("192.0.2.1"), tcp("192.0.2.2"), tcp("2001:db8::1"), tcp("2001:db8:0:1::1"),
		&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"},
		&net.UnixAddr{Net: "unix"}, &net.UnixAddr{Net: "unix", Name: "@"}, &net.UnixAddr{Net: "unix", Name: "@"}, nil, nil,
	} {
		require.NoError(t, connect(addr), "%v", addr)
	}
	for addr, counted := range map[net.Addr]string{
		tcp("192.0.2.1"): "192.0.2.1", tcp("::ffff:192.0.2.2"): "192.0.2.2", tcp("2001:db8::ffff:0:0:1"): "2001:db8::/64",
		tcp("2001:db8:0:1:ffff::"): "2001:db8:0:1::/64", &net.TCPAddr{IP: net.ParseIP("fe80::2"), Zone: "eth1"}: "fe80::/64",
	} {
		err := connect(addr)
		require.ErrorContains(t, err, "too many connections from "+counted)
		require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(err))
	}
	require.Equal(t, 10, server.Stats().Connections)
}

// Whoever does not finish the handshake takes a place, but not for long.
func TestMuteConnectionsCountAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInMemory(t, echoHandlers(), nil)
		s.tcp.MaxConnections = 3
		start := time.Now()
		end := func(conns []net.Conn) time.Duration {
			for _, conn := range conns {
				io.Copy(io.Discard, conn)
			}
			synctest.Wait()
			return time.Since(start)
		}
		var conns []net.Conn
		for range 6 {
			conns = append(conns, s.dial())
			synctest.Wait() // it has entered, or not
		}
		require.Equal(t, time.Second, end(conns[3:]), "the time that they have to hear why")
		require.Equal(t, 3, s.tcp.Stats().Connections)
		require.InDelta(t, 10, end(conns[:3]).Seconds(), 1, "virtual")
		require.Zero(t, s.tcp.Stats().Connections)
		p := s.peer()
		p.echoes()
	})
}

// Over TLS its handshake is part of that, and of the time to hear why somebody is refused.
func TestMuteConnectionsOverTLS(t *testing.T) {
	limits := *gotalk.DefaultLimits
	limits.HandshakeTimeout = 50 * time.Millisecond
	for name, authorize := range map[string]func(*gotalk.Sock) error{
		"all": nil, "authorized": func(*gotalk.Sock) error { return nil },
	} {
		for _, says := range []string{"", "\x16\x03\x01\x02\x00", "\x16\x03\x01\x00\x05\x01"} {
			// The beginning of a ClientHello, or none.
			t.Run(fmt.Sprintf("%s %q", name, says), func(t *testing.T) {
				t.Parallel()
				server, _ := listenTLS(t, echoHandlers(), nil)
				server.Limits, server.MaxConnections, server.Authorize = &limits, 3, authorize
				server.AcceptHandler = func(*gotalk.Sock) { t.Error("accepted") }
				var conns []net.Conn
				for range 6 {
					conn, err := net.Dial("tcp", server.Addr())
					require.NoError(t, err)
					defer conn.Close()
					io.WriteString(conn, says)
					conns = append(conns, conn)
				}
				for _, conn := range conns {
					conn.SetReadDeadline(time.Now().Add(patience))
					_, err := io.Copy(io.Discard, conn)
					require.False(t, timedOut(err))
				}
				settled(t, func() bool { return server.Stats().Connections == 0 })
			})
		}
	}
}

// settled waits until something is so.
func settled(t testing.TB, so func() bool) {
	for deadline := time.Now().Add(patience); !so(); runtime.Gosched() {
		require.True(t, time.Now().Before(deadline))
	}
}

// A flood of connections past the limit keeps neither goroutines nor memory.
func TestFloodOfConnectionsIsBounded(t *testing.T) {
	s := serveTCP(t, echoHandlers(), nil)
	s.tcp.MaxConnections = 10
	before := runtime.NumGoroutine()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range 2000 {
		conns = append(conns, s.dial())
	}
	for range 10 {
		s.socks <- nil // nobody has got as far as AcceptHandler
	}
	ended := 0
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(patience))
		var b [2]byte
		if n, err := io.ReadFull(c, b[:]); n == 0 {
			require.False(t, timedOut(err))
			ended++
		}
	}
	require.Equal(t, 2000-10, ended, "the others have got a version")
	settledGoroutines(t, before+2*10+10)
	require.LessOrEqual(t, s.tcp.Stats().Connections, 10)
}

// muteConnections opens n connections that say nothing, and tells what each of them takes of the server's memory, with what
// they cost this side.
func muteConnections(t testing.TB, n int) (bytesEach float64) {
	limits := *gotalk.DefaultLimits
	limits.HandshakeTimeout = time.Hour
	s := serveTCP(t, echoHandlers(), &limits)
	memory := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse + m.StackInuse)
	}
	before := memory()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = s.dial()
	}
	for _, c := range conns {
		var b [2]byte
		c.SetReadDeadline(time.Now().Add(patience))
		_, err := io.ReadFull(c, b[:]) // the version: the server is waiting for ours
		require.NoError(t, err)
	}
	bytesEach = (memory() - before) / float64(n)
	require.Equal(t, n, s.tcp.Stats().Connections)
	for _, c := range conns {
		c.Close()
	}
	settled(t, func() bool { return s.tcp.Stats().Connections == 0 })
	return bytesEach
}

func TestMuteConnectionsTakeLittleMemory(t *testing.T) {
	each := muteConnections(t, 2000)
	t.Logf("%.0f bytes for each of 2000 mute connections, both ends of it", each)
	require.Less(t, each, 32.0*1024)
}

func BenchmarkMuteConnections(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(muteConnections(b, 2000), "B/conn")
	}
}

func TestMaxConnectionsOfWebSockets(t *testing.T) {
	s := serveWebSocket(t, echoHandlers(), nil)
	s.web.MaxConnections, s.web.MaxConnectionsPerAddr = 3, 1
	s.web.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Real-IP") }
	connect := func(from string) (*gotalk.Sock, error) {
		c := quietSock(nil)
		t.Cleanup(func() { c.Close() })
		return c, c.ConnectWebSocket(t.Context(), "ws://"+s.addr, nil,
			&gotalk.WebSocketOptions{Header: http.Header{"X-Real-Ip": {from}}})
	}
	first, err := connect("2001:db8::1")
	require.NoError(t, err)
	_, err = connect("2001:db8::2")
	require.ErrorContains(t, err, "429 Too Many Requests")
	require.ErrorContains(t, err, "too many connections from 2001:db8::/64")
	for range 2 {
		_, err = connect("") // nobody knows where it is from
		require.NoError(t, err)
	}
	_, err = connect("alice")
	require.ErrorContains(t, err, "503 Service Unavailable")
	require.ErrorContains(t, err, "the server has as many connections as it takes")

	require.NoError(t, first.Close())
	enters(t, func() error { _, err := connect("alice"); return err })
	_, err = connect("bob")
	require.ErrorContains(t, err, "503")

	s.web.ClientAddr = nil
	s.web.MaxConnections = 0
	last := s.client(nil)
	err = quietSock(nil).ConnectWebSocket(t.Context(), "ws://"+s.addr, nil, nil)
	require.ErrorContains(t, err, "too many connections from 127.0.0.1")
	require.NoError(t, last.Close())
}

// Requests that become no WebSocket give their place back.
func TestPlacesOfFailedUpgrades(t *testing.T) {
	s := gotalk.NewWebSocketServer()
	s.MaxConnections = 1
	broken := errors.New("panic of the program's")
	for _, change := range []func(r *http.Request){
		func(r *http.Request) { s.CheckOrigin = func(*http.Request) bool { return false } },
		func(r *http.Request) { s.CheckOrigin = func(*http.Request) bool { panic(broken) } },
		func(r *http.Request) { s.CheckOrigin = nil; r.Header.Del("Upgrade") },
		func(r *http.Request) { s.Authorize = func(*http.Request) (any, error) { return nil, broken } },
		func(r *http.Request) { s.Authorize = func(*http.Request) (any, error) { panic(broken) } },
		func(r *http.Request) { s.Authorize = nil },
	} {
		w, r := httptest.NewRecorder(), upgradeRequest("example.com", "")
		change(r)
		func() {
			defer func() {
				if v := recover(); v != nil {
					require.Equal(t, broken, v)
				}
			}()
			s.ServeHTTP(w, r)
		}()
		require.NotEqual(t, http.StatusServiceUnavailable, w.Code)
	}
}

// Slow upgrade requests end as the http.Server is told, and are no connections of a WebSocketServer until then. What has
// become a WebSocket and says no more is one, until HandshakeTimeout.
func TestSlowUpgrades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := gotalk.NewWebSocketServer()
		web.Handlers, web.MaxConnections = echoHandlers(), 1
		l := newPipeListener()
		server := &http.Server{Handler: web, ReadHeaderTimeout: 10 * time.Second}
		stopped := inBackground(func() error { return server.Serve(l) })
		const request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
		start := time.Now()
		slow := l.dial()
		go io.Copy(io.Discard, slow)
		for i := range request {
			if _, err := io.WriteString(slow, request[i:i+1]); err != nil {
				break
			}
			<-time.After(time.Second)
		}
		require.InDelta(t, 10, time.Since(start).Seconds(), 2, "virtual")
		require.Zero(t, web.Stats().Connections)

		start = time.Now()
		mute := l.dial()
		_, err := io.WriteString(mute, request)
		require.NoError(t, err)
		answer := func(c net.Conn) string {
			b := make([]byte, 12)
			_, err := io.ReadFull(c, b)
			require.NoError(t, err)
			go io.Copy(io.Discard, c)
			return string(b)
		}
		require.Equal(t, "HTTP/1.1 101", answer(mute))
		other := l.dial()
		_, err = io.WriteString(other, request)
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 503", answer(other))
		synctest.Wait() // Stats knows a connection a moment after it is answered
		for web.Stats().Connections > 0 {
			<-time.After(time.Second)
		}
		require.InDelta(t, 10, time.Since(start).Seconds(), 2, "virtual")
		require.NoError(t, server.Close())
		require.Error(t, <-stopped)
		other.Close()
	})
}
