package gotalk_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// A server that is killed and started again, ten times while 200 calls are made every second: no call fails, and none takes
// longer than the back-off and the restart.
func TestClientSurvivesRestarts(t *testing.T) {
	const (
		restarts = 10
		up, down = 200 * time.Millisecond, 100 * time.Millisecond
		backoff  = 200 * time.Millisecond         // no more than up, so that no restart is missed
		patient  = down + backoff + 5*time.Second // a machine may be busy
	)
	var mu sync.Mutex
	var socks []*gotalk.Sock
	h := echoHandlers()
	addr := "127.0.0.1:0"
	start := func() *gotalk.Server {
		s, err := gotalk.Listen("tcp", addr)
		require.NoError(t, err)
		addr = s.Addr()
		s.Handlers = h
		s.AcceptHandler = func(s *gotalk.Sock) {
			mu.Lock()
			socks = append(socks, s)
			mu.Unlock()
		}
		go s.Accept()
		return s
	}
	kill := func(s *gotalk.Server) {
		s.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, s := range socks {
			s.Conn().(*net.TCPConn).SetLinger(0) // as if the process was gone
			s.Conn().Close()
		}
		socks = nil
	}
	s := start()
	c := gotalk.NewClient(addr)
	c.Idempotent = func(op string) bool { return op == "echo" }
	c.MaxBackoff = backoff
	require.NoError(t, c.Start())
	defer c.Close()

	var calls sync.WaitGroup
	var done, failed atomic.Int64
	var longest atomic.Int64
	stop := make(chan struct{})
	calls.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			calls.Go(func() {
				began := time.Now()
				if b, err := c.BufferRequest("echo", []byte("x")); err != nil || string(b) != "x" {
					failed.Add(1)
					t.Errorf("%q, %v", b, err)
				}
				done.Add(1)
				for took := int64(time.Since(began)); ; {
					if old := longest.Load(); took <= old || longest.CompareAndSwap(old, took) {
						return
					}
				}
			})
		}
	})
	for range restarts {
		<-time.After(up)
		kill(s)
		<-time.After(down)
		s = start()
	}
	<-time.After(up)
	close(stop)
	calls.Wait()
	t.Logf("%d calls, the longest took %v", done.Load(), time.Duration(longest.Load()))
	require.Zero(t, failed.Load())
	require.Greater(t, done.Load(), int64(100))
	require.Less(t, time.Duration(longest.Load()), patient)
	c.Close()
	kill(s)
}

// What a Client can connect to.
func TestClientAddresses(t *testing.T) {
	h := echoHandlers()
	serve := func(l net.Listener) net.Addr {
		s := gotalk.NewServer(h, nil, l)
		go s.Accept()
		t.Cleanup(func() { require.NoError(t, s.Shutdown(context.Background())) })
		return l.Addr()
	}
	listen := func(network, addr string) net.Listener {
		l, err := net.Listen(network, addr)
		require.NoError(t, err)
		return l
	}
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = h
	headers := make(chan http.Header, 2)
	ws.OnConnect = func(s *gotalk.WebSocket) { headers <- s.Request().Header }
	web, secureWeb := httptest.NewServer(ws), httptest.NewTLSServer(ws)
	t.Cleanup(web.Close)
	t.Cleanup(secureWeb.Close)
	t.Cleanup(func() { ws.Shutdown(context.Background()) })
	trust := secureWeb.Client().Transport.(*http.Transport).TLSClientConfig
	trust.ServerName = "example.com"
	tcp := serve(listen("tcp", "127.0.0.1:0")).String()
	socket := filepath.Join(t.TempDir(), "s")
	serve(listen("unix", socket))
	secure := serve(tls.NewListener(listen("tcp", "127.0.0.1:0"), secureWeb.TLS.Clone())).String()

	for name, addr := range map[string]string{
		"bare": tcp, "tcp": "tcp://" + tcp, "unix": "unix://" + socket, "tls": "tls://" + secure,
		"ws": strings.Replace(web.URL, "http", "ws", 1), "wss": strings.Replace(secureWeb.URL, "https", "wss", 1) + "/gotalk/",
	} {
		t.Run(name, func(t *testing.T) {
			c := gotalk.NewClient(addr)
			defer c.Close()
			c.TLSConfig = trust
			c.Header = http.Header{"Own": {"header"}}
			require.NoError(t, c.Start())
			var out string
			require.NoError(t, c.RequestContext(deadline(t, context.Background(), patience), "echo", "x", &out))
			require.Equal(t, "x", out)
			if strings.HasPrefix(name, "ws") {
				require.Equal(t, "header", (<-headers).Get("Own"))
			}
			require.NoError(t, c.Shutdown(deadline(t, context.Background(), patience)))
		})
	}
	t.Run("TLS that is not trusted", func(t *testing.T) {
		events := make(chan gotalk.ClientEvent, 100)
		c := gotalk.NewClient("tls://" + secure)
		defer c.Close()
		c.OnState = func(e gotalk.ClientEvent) {
			if e.State == gotalk.ClientAway {
				events <- e
			}
		}
		require.NoError(t, c.Start())
		require.ErrorContains(t, await(t, events).Err, "RootCAs")
	})
}

// A panic of OnState is logged and harms nothing.
func TestClientPanicInOnState(t *testing.T) {
	log := logged(t)
	s := serveTCP(t, echoHandlers(), nil)
	c := gotalk.NewClient(s.tcp.Addr())
	c.OnState = func(gotalk.ClientEvent) { panic("in OnState") }
	require.NoError(t, c.Start())
	require.NoError(t, c.RequestContext(deadline(t, context.Background(), patience), "echo", 1, nil))
	require.NoError(t, c.Close())
	require.Contains(t, log(), "panic in OnState: in OnState")
}

func BenchmarkClientRequest(b *testing.B) {
	s := serveTCP(b, echoHandlers(), nil)
	c := gotalk.NewClient(s.tcp.Addr())
	require.NoError(b, c.Start())
	defer c.Close()
	require.NoError(b, c.WaitReady(context.Background()))
	payload := []byte("hello")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.BufferRequest("echo", payload); err != nil {
			b.Fatal(err)
		}
	}
}

// A server that is shut down and started again and again, while calls are made that must not run twice: none is lost.
func TestClientLosesNothingToShutdowns(t *testing.T) {
	var runs, calls atomic.Int64
	h := gotalk.NewHandlers()
	h.HandleBufferRequest("count", func(*gotalk.Sock, string, []byte) ([]byte, error) { runs.Add(1); return nil, nil })
	addr := "127.0.0.1:0"
	start := func() *gotalk.Server {
		s, err := gotalk.Listen("tcp", addr)
		require.NoError(t, err)
		addr, s.Handlers = s.Addr(), h
		go s.Accept()
		return s
	}
	s := start()
	c := gotalk.NewClient(addr)
	c.MinBackoff, c.MaxBackoff = 5*time.Millisecond, 20*time.Millisecond
	require.NoError(t, c.Start())
	defer c.Close()
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.BufferRequest("count", nil); err != nil {
					t.Error(err)
				}
				calls.Add(1)
			}
		})
	}
	for range 8 {
		for before := calls.Load(); calls.Load() < before+50; { // it is in use
			<-time.After(time.Millisecond)
		}
		require.NoError(t, s.Shutdown(deadline(t, context.Background(), patience)))
		s = start()
	}
	close(stop)
	callers.Wait()
	require.Equal(t, calls.Load(), runs.Load(), "each has run once")
	require.NoError(t, s.Shutdown(deadline(t, context.Background(), patience)))
}
