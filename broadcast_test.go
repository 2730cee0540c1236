package gotalk_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

func prepared(t testing.TB, name, payload string) *gotalk.PreparedNotification {
	p, err := gotalk.PrepareBufferNotification(name, []byte(payload))
	require.NoError(t, err)
	return p
}

// broadcast sends a notification to all that are connected to s.
func (s *testServer) broadcast(name, payload string) (sent int, missed []*gotalk.Sock) {
	if s.ws {
		return s.web.Broadcast(prepared(s, name, payload))
	}
	return s.tcp.Broadcast(prepared(s, name, payload))
}

// connected waits until a server knows so many connections whose OnConnect has returned, and nothing is left to be written.
func (s *testServer) connected(n int) {
	settled(s, func() bool {
		sent, _ := s.broadcast("anyone there", "")
		return sent == n
	})
	settled(s, func() bool {
		if s.ws {
			return s.web.Stats().UnsentBytes == 0
		}
		return s.tcp.Stats().UnsentBytes == 0
	})
}

// frames reads WebSocket messages until it has read one of those that are wanted, which are to come one after the other.
func (p *peer) frames(want ...string) {
	for i := 0; i < len(want); {
		_, b, err := p.w.readFrame()
		require.NoError(p, err)
		if i > 0 || string(b) == want[0] {
			require.Equal(p, want[i], string(b))
			i++
		}
	}
}

// A broadcast reaches peers of all kinds, each as it understands it: one that has not said hello gets header and payload
// as two WebSocket messages, one that said join both in one.
func TestBroadcastReachesPeersOfAllKinds(t *testing.T) {
	for _, payload := range []string{"", "x", strings.Repeat("0123456789", 13), strings.Repeat("0123456789", 5000)} {
		header := fmt.Sprintf("n004news%08x", len(payload))
		heard := make(chan string, 1)
		h := gotalk.NewHandlers()
		h.HandleBufferNotification("news", func(_ *gotalk.Sock, _ string, b []byte) { heard <- string(b) })

		s := serveWebSocket(t, nil, nil)
		old, joins := s.peer(), s.peer()
		joins.say(notification("gotalk:hello", `{"join":1}`))
		_, hello, err := joins.w.readFrame()
		require.NoError(t, err)
		require.Equal(t, notification("gotalk:hello", ourHello), string(hello))
		s.client(h)
		s.connected(3)
		sent, missed := s.broadcast("news", payload)
		require.Equal(t, 3, sent)
		require.Empty(t, missed)
		if payload == "" {
			old.frames(header)
		} else {
			old.frames(header, payload)
		}
		joins.frames(header + payload)
		require.Equal(t, payload, await(t, heard))

		for _, s := range []*testServer{serveTCP(t, nil, nil), serveInMemory(t, nil, nil)} {
			old := s.peer()
			s.client(h)
			read := inBackground(func() bool { return old.findsNext(header + payload) })
			s.connected(2)
			sent, missed := s.broadcast("news", payload)
			require.Equal(t, 2, sent)
			require.Empty(t, missed)
			require.Equal(t, payload, await(t, heard))
			require.True(t, await(t, read))
		}
	}
}

// findsNext reads messages until one is want, and tells whether one was.
func (p *peer) findsNext(want string) bool {
	for {
		if m := p.hear(); m == want || m == "end" {
			return m == want
		}
	}
}

// Over TLS nothing can be written without perhaps waiting for the peer, so each connection has a goroutine for it.
func TestBroadcastOverTLS(t *testing.T) {
	heard := make(chan string, 2)
	h := gotalk.NewHandlers()
	h.HandleBufferNotification("news", func(_ *gotalk.Sock, _ string, b []byte) { heard <- string(b) })
	ws := gotalk.NewWebSocketServer()
	web := httptest.NewTLSServer(ws)
	defer web.Close()
	trusted := web.Client().Transport.(*http.Transport).TLSClientConfig
	connected := make(chan bool, 2)
	ws.OnConnect = func(*gotalk.WebSocket) { connected <- true }
	a, b := quietSock(h), quietSock(h)
	opts := &gotalk.WebSocketOptions{TLSConfig: trusted}
	require.NoError(t, a.ConnectWebSocket(t.Context(), strings.Replace(web.URL, "https", "wss", 1), nil, opts))
	defer a.Close()
	tcp, err := gotalk.ListenTLSCustom("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	require.NoError(t, err)
	defer tcp.Close()
	tcp.AcceptHandler = func(*gotalk.Sock) { connected <- true }
	go tcp.Accept()
	require.NoError(t, b.ConnectTLS("tcp", tcp.Addr(), nil, trusted))
	defer b.Close()
	await(t, connected)
	await(t, connected)
	p := prepared(t, "news", "secret")
	for _, broadcast := range []func(*gotalk.PreparedNotification) (int, []*gotalk.Sock){ws.Broadcast, tcp.Broadcast} {
		for sent := 0; sent < 1; { // it is reached when the callback has returned
			var missed []*gotalk.Sock
			sent, missed = broadcast(p)
			require.Empty(t, missed)
		}
		require.Equal(t, "secret", await(t, heard))
	}
}

// What sockets are not open, or not yet, is passed over.
func TestBroadcastPassesOverClosedSocks(t *testing.T) {
	eachServer(t, nil, nil, func(t *testing.T, s *testServer) {
		s.mutePeer() // never sends its version
		sent, missed := s.broadcast("news", "early")
		require.Zero(t, sent)
		require.Empty(t, missed)
		s.peer()
		s.peer()
		socks := []*gotalk.Sock{s.sock(), s.sock()}
		s.connected(2)
		p := prepared(t, "news", "x")
		require.NoError(t, socks[0].NotifyPrepared(p))
		require.NoError(t, socks[0].Close())
		require.ErrorIs(t, socks[0].NotifyPrepared(p), gotalk.ErrSockClosed)
		s.connected(1)
	})
	require.ErrorIs(t, gotalk.NewSock(nil).NotifyPrepared(prepared(t, "news", "")), gotalk.ErrSockClosed)
}

// A peer that does not read what it gets holds up nobody else, and takes no more than its share of memory: it misses what
// does not fit, which the server is told. When it reads it finds what it has got whole and in order.
func TestBroadcastIsNotHeldUpBySlowReaders(t *testing.T) {
	const size, maxUnsent = 32 << 10, 128 << 10
	eachServer(t, nil, &gotalk.Limits{MaxUnsentBytes: maxUnsent, WriteTimeout: 3 * patience}, func(t *testing.T, s *testServer) {
		slow := s.peer()
		slowSock := s.sock()
		got := make(chan string, 1)
		h := gotalk.NewHandlers()
		h.HandleBufferNotification("news", func(_ *gotalk.Sock, _ string, b []byte) { got <- string(b[:8]) })
		for range 3 {
			s.client(h)
		}
		s.connected(4)
		filler := strings.Repeat("x", size-8)
		n := 0
		for missed := []*gotalk.Sock(nil); len(missed) == 0; n++ {
			require.Less(t, n, 10_000, "the slow one reads all")
			var sent int
			sent, missed = s.broadcast("news", fmt.Sprintf("%08d", n)+filler)
			require.Equal(t, 4, sent+len(missed))
			for range 3 {
				require.Equal(t, fmt.Sprintf("%08d", n), await(t, got), "those who read get it before the next is sent")
			}
			if len(missed) > 0 {
				require.Equal(t, []*gotalk.Sock{slowSock}, missed)
			}
			require.LessOrEqual(t, slowSock.Stats().UnsentBytes, int64(maxUnsent+size+100))
		}
		more := prepared(t, "more", filler)
		err := slowSock.NotifyPrepared(more)
		for err == nil { // the system has taken some more in the meantime
			err = slowSock.NotifyPrepared(more)
		}
		require.ErrorIs(t, err, gotalk.ErrNotRead)
		require.Equal(t, gotalk.CodeResourceExhausted, gotalk.CodeOf(err))
		for i := 0; i < n-1; {
			m := slow.hear()
			if strings.HasPrefix(m, "n004news") {
				require.Equal(t, fmt.Sprintf("%08d", i), m[16:24])
				require.Len(t, m, 16+size)
				i++
			}
		}
		s.connected(4)
		_, missed := s.broadcast("news", "again")
		require.Empty(t, missed)
		require.True(t, slow.findsNext(notification("news", "again")))
	})
}

// A peer that takes nothing at all is dropped after the write timeout.
func TestBroadcastDropsWhoReadsNothing(t *testing.T) {
	s := serveTCP(t, nil, &gotalk.Limits{MaxUnsentBytes: 1 << 10, WriteTimeout: 10 * time.Millisecond})
	closed := make(chan int, 1)
	s.peer()
	s.sock().CloseHandler = func(_ *gotalk.Sock, code int) { closed <- code }
	payload := strings.Repeat("x", 1<<20)
	for {
		select {
		case code := <-closed:
			require.Equal(t, gotalk.ProtocolErrorTimeout, code)
			return
		case <-time.After(time.Millisecond):
			s.broadcast("news", payload)
		}
	}
}

// What is sent before it can be written is written together, to a peer that joins messages as one WebSocket message.
func TestBroadcastsShareWritesAndFrames(t *testing.T) {
	for _, joins := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := startServer(t, newPipeListener(), true, nil, nil)
			p := s.peer()
			if joins {
				p.say(notification("gotalk:hello", `{"join":1}`))
				p.read(false)
			}
			synctest.Wait()
			for i := range 4 { // the first is being written until it is read
				sent, missed := s.broadcast("news", fmt.Sprint(i))
				require.Equal(t, 1, sent)
				require.Empty(t, missed)
				synctest.Wait()
			}
			s.sock().BufferNotify("other", nil)
			if joins {
				p.frames("n004news000000010", "n004news000000011n004news000000012n004news000000013n005other00000000")
			} else {
				const header = "n004news00000001"
				p.frames(header, "0", header, "1", header, "2", header, "3", "n005other00000000")
			}
		})
	}
}

// Many senders, with connections that come and go: each gets what each sender sends in order, without gaps.
func TestBroadcastsOfManySenders(t *testing.T) {
	const senders, each, receivers = 4, 200, 20
	eachServer(t, echoHandlers(), nil, func(t *testing.T, s *testServer) {
		var wg sync.WaitGroup
		var got atomic.Int64
		for range receivers {
			h := gotalk.NewHandlers()
			var next [senders]int // handled one after the other
			h.HandleBufferNotification("news", func(_ *gotalk.Sock, _ string, b []byte) {
				var sender, i int
				fmt.Sscanf(string(b), "%d %d", &sender, &i)
				if next[sender] == i {
					got.Add(1)
				}
				next[sender]++
			})
			c := s.client(h)
			wg.Go(func() {
				for range 20 {
					if b, err := c.BufferRequest("echo", []byte("x")); err != nil || string(b) != "x" {
						t.Error(err)
					}
				}
			})
		}
		s.connected(receivers)
		ends := make(chan bool)
		coming := inBackground(func() error {
			for {
				select {
				case <-ends:
					return nil
				default:
				}
				s.client(nil).Close()
			}
		})
		for sender := range senders {
			wg.Go(func() {
				for i := range each {
					s.broadcast("news", fmt.Sprint(sender, " ", i))
				}
			})
		}
		wg.Wait()
		close(ends)
		require.NoError(t, await(t, coming))
		settled(s, func() bool { return got.Load() == senders*each*receivers })
	})
}

// Who sends faster than can be written writes too, so that little waits in memory.
func TestBroadcastFasterThanWritten(t *testing.T) {
	const receivers, n, size = 10, 100, 100 << 10
	s := serveTCP(t, nil, nil)
	var got atomic.Int64
	for range receivers {
		h := gotalk.NewHandlers()
		h.HandleBufferNotification("news", func(_ *gotalk.Sock, _ string, b []byte) { got.Add(1) })
		s.client(h)
	}
	s.connected(receivers)
	p := prepared(t, "news", strings.Repeat("x", size))
	sent, skipped := 0, 0
	for range n {
		k, missed := s.tcp.Broadcast(p)
		sent, skipped = sent+k, skipped+len(missed)
	}
	require.Equal(t, receivers*n, sent+skipped)
	settled(s, func() bool { return got.Load() == int64(sent) && s.tcp.Stats().UnsentBytes == 0 })
}

func TestPreparedNotification(t *testing.T) {
	_, err := gotalk.PrepareNotification("news", func() {})
	require.Error(t, err)
	_, err = gotalk.PrepareBufferNotification("gotalk:hello", nil)
	require.Error(t, err)
	_, err = gotalk.PrepareBufferNotification(strings.Repeat("x", 4096), nil)
	require.Error(t, err)

	buf := []byte("mine")
	p, err := gotalk.PrepareBufferNotification("news", buf)
	require.NoError(t, err)
	copy(buf, "gone")
	typed, err := gotalk.Note[string]{Name: "news"}.Prepare("typed")
	require.NoError(t, err)
	s := serveTCP(t, nil, nil)
	peer := s.peer()
	sock := s.sock()
	var seen []gotalk.CallInfo
	sock.Use(func(ctx context.Context, call *gotalk.CallInfo, next func(context.Context) error) error {
		err := next(ctx)
		seen = append(seen, *call)
		return err
	})
	require.NoError(t, sock.NotifyPrepared(p))
	require.NoError(t, sock.NotifyPrepared(typed))
	peer.hears("n004news00000004mine", `n004news00000007"typed"`)
	require.Len(t, seen, 2)
	require.Equal(t, gotalk.KindNotification, seen[0].Kind)
	require.Equal(t, "news", seen[0].Op)
	require.Equal(t, int64(4), seen[0].BytesOut)
}

// A Client sends where it is connected, and does not wait until it is. Over a WebSocket each of its frames has a mask of its own.
func TestNotifyPreparedOfClient(t *testing.T) {
	heard := make(chan string, 1)
	h := echoHandlers()
	h.HandleBufferNotification("news", func(_ *gotalk.Sock, _ string, b []byte) { heard <- string(b) })
	eachServer(t, h, nil, func(t *testing.T, s *testServer) {
		url := "tcp://" + s.addr
		if s.ws {
			url = "ws://" + s.addr + "/"
		}
		c := gotalk.NewClient(url)
		p := prepared(t, "news", "x")
		require.ErrorIs(t, c.Sock.NotifyPrepared(p), gotalk.ErrSockClosed)
		require.NoError(t, c.Start())
		defer c.Close()
		_, err := c.BufferRequest("echo", nil)
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, c.Sock.NotifyPrepared(p))
			require.Equal(t, "x", await(t, heard))
		}
	})
}
