package gotalk_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// restarted is a server that is stopped and started again at the same address.
type restarted struct {
	testing.TB
	ws       bool
	h        *gotalk.Handlers
	addr     string // set by the first start
	conns    *keptConns
	shutdown func(context.Context) error
	abandon  func() error
}

func (r *restarted) start() {
	l, err := net.Listen("tcp", cmp.Or(r.addr, "127.0.0.1:0"))
	require.NoError(r, err)
	if r.addr == "" {
		r.addr = l.Addr().String()
	}
	r.conns = &keptConns{Listener: l}
	if !r.ws {
		s := gotalk.NewServer(r.h, nil, r.conns)
		r.shutdown, r.abandon = s.Shutdown, s.Close
		go s.Accept() // ends with stop
		return
	}
	web := gotalk.NewWebSocketServer()
	web.Handlers = r.h
	server := &http.Server{Handler: web}
	r.abandon = server.Close
	r.shutdown = func(ctx context.Context) error {
		if err := server.Shutdown(ctx); err != nil {
			return err
		}
		return web.Shutdown(ctx)
	}
	go server.Serve(r.conns) // ends with stop
}

// stop shuts the server down, or ends it as if its process was killed.
func (r *restarted) stop(gracefully bool) {
	if gracefully {
		require.NoError(r, r.shutdown(deadline(r, context.Background(), 3*patience)))
		return
	}
	r.abandon()
	r.conns.reset()
}

// keptConns is a listener that remembers its connections.
type keptConns struct {
	net.Listener
	mu  sync.Mutex
	all []net.Conn
}

func (k *keptConns) Accept() (net.Conn, error) {
	nc, err := k.Listener.Accept()
	if err == nil {
		k.mu.Lock()
		k.all = append(k.all, nc)
		k.mu.Unlock()
	}
	return nc, err
}

func (k *keptConns) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, nc := range k.all {
		nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
	}
}

// client returns what calls are made on: a Client, or a Sock that is connected again whenever its connection has ended.
func (r *restarted) client(reconnects bool) (s *gotalk.Sock, end func()) {
	if reconnects {
		addr := "tcp://" + r.addr
		if r.ws {
			addr = "ws://" + r.addr
		}
		c := gotalk.NewClient(addr)
		c.MinBackoff, c.MaxBackoff = 5*time.Millisecond, 50*time.Millisecond
		c.MaxQueued = 1 << 20 // however busy the machine is
		require.NoError(r, c.Start())
		return c.Sock, func() { c.Close() }
	}
	s = quietSock(nil)
	ended, over := make(chan struct{}, 1), make(chan struct{})
	s.CloseHandler = func(*gotalk.Sock, int) {
		select {
		case ended <- struct{}{}:
		default:
		}
	}
	connect := func() error {
		if r.ws {
			return s.ConnectWebSocket(context.Background(), "ws://"+r.addr, nil, nil)
		}
		return s.Connect("tcp", r.addr, nil)
	}
	require.NoError(r, connect())
	var reconnecting sync.WaitGroup
	reconnecting.Go(func() {
		for {
			select {
			case <-ended:
			case <-over:
				return
			}
			for s.IsClosed() && connect() != nil {
				select {
				case <-time.After(5 * time.Millisecond): // until the server is there again
				case <-over:
					return
				}
			}
		}
	})
	return s, func() {
		close(over)
		reconnecting.Wait()
		s.Close()
	}
}

// While 500 calls are made every second the server is restarted ten times. Each call gets its answer, or an error that says
// that it may be made again. A shutdown answers each call that has run, so that a Client, which makes the others again,
// loses none. Nothing ever runs twice.
func TestRollingRestarts(t *testing.T) {
	const (
		restarts = 10
		between  = 60 // calls that are answered
	)
	for _, ws := range []bool{false, true} {
		for _, gracefully := range []bool{true, false} {
			for _, reconnects := range []bool{true, false} {
				t.Run(fmt.Sprintf("websocket %t shutdown %t client %t", ws, gracefully, reconnects), func(t *testing.T) {
					t.Parallel()
					var runs sync.Map // how often each call has run
					h := gotalk.NewHandlers()
					h.HandleBufferRequest("work", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
						n, _ := runs.LoadOrStore(string(b), new(atomic.Int64))
						n.(*atomic.Int64).Add(1)
						<-time.After(time.Duration(b[len(b)-1]%8) * time.Millisecond) // so that some are under way
						return b, nil
					})
					server := &restarted{TB: t, ws: ws, h: h}
					server.start()
					s, end := server.client(reconnects)
					defer end()

					var answered, failed atomic.Int64
					call := func(i int) {
						in := fmt.Sprint(i)
						ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
						defer cancel()
						out, err := s.BufferRequestContext(ctx, "work", []byte(in))
						n := int64(0)
						if v, ok := runs.Load(in); ok {
							n = v.(*atomic.Int64).Load()
						}
						switch {
						case err == nil && string(out) == in && n == 1:
							answered.Add(1)
						case err != nil && gotalk.CodeOf(err) == gotalk.CodeUnavailable && n <= 1:
							failed.Add(1)
							if gracefully && n == 1 {
								t.Errorf("call %d has run and was not answered: %v", i, err)
							}
						default:
							t.Errorf("call %d: %q, %v, has run %d times", i, out, err, n)
						}
					}
					var calls sync.WaitGroup
					stop := make(chan struct{})
					calls.Go(func() {
						tick := time.NewTicker(2 * time.Millisecond)
						defer tick.Stop()
						for i := 0; ; i++ {
							select {
							case <-stop:
								return
							case <-tick.C:
								calls.Go(func() { call(i) })
							}
						}
					})
					progress := func() {
						for until := answered.Load() + between; answered.Load() < until && !t.Failed(); {
							<-time.After(time.Millisecond)
						}
					}
					for range restarts {
						progress()
						server.stop(gracefully)
						server.start()
					}
					progress()
					close(stop)
					calls.Wait()
					t.Logf("%d calls answered, %d to be made again", answered.Load(), failed.Load())
					if gracefully && reconnects {
						require.Zero(t, failed.Load())
					}
					server.stop(gracefully)
				})
			}
		}
	}
}
