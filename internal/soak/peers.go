package main

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/internal/chaos"
)

// faults are what the proxies do, as often as this says.
var faults = chaos.Weights{
	chaos.Pass: 60, chaos.Delay: 8, chaos.Split: 8, chaos.Join: 8, chaos.Throttle: 4, chaos.Pause: 3,
	chaos.HalfOpen: 1, chaos.Reset: 3,
}

// limits are shorter than the default ones, so that a connection that is half open is noticed within seconds.
var limits = &gotalk.Limits{ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second, HandshakeTimeout: 3 * time.Second}

const (
	heartbeat     = 500 * time.Millisecond
	callersPerEnd = 2 // goroutines that make calls, one after the other, on each end of a connection
	longestLife   = 10 * time.Second
)

// serve starts the servers, and the proxies before them.
func (s *soak) serve() error {
	front := func(l net.Listener) error {
		p, err := chaos.Listen(l.Addr().String(), s.seed+uint64(len(s.proxies)), faults)
		if err == nil {
			s.proxies = append(s.proxies, p)
		}
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.tcp = gotalk.NewServer(s.handlers, limits, l)
	s.tcp.AcceptHandler = s.accept
	go s.tcp.Accept() // ends with Shutdown
	if err := front(l); err != nil {
		return err
	}
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.web = gotalk.NewWebSocketServer()
	s.web.Handlers, s.web.Limits = s.handlers, limits
	s.web.OnConnect = func(ws *gotalk.WebSocket) { s.accept(&ws.Sock) }
	s.http = &http.Server{Handler: s.web, ReadHeaderTimeout: limits.HandshakeTimeout, ErrorLog: log.New(io.Discard, "", 0)}
	go s.http.Serve(l) // ends with Close
	return front(l)
}

// accept lets the server's end of a connection make calls too.
func (s *soak) accept(sock *gotalk.Sock) {
	rng := s.random(1<<32 + s.accepted.Add(1))
	s.begin(func() { s.use(sock, newNumbers(rng), rng, sock.IsClosed) }) // ends with the connection
}

// broadcast notifies all who are connected, again and again.
func (s *soak) broadcast() {
	p, err := gotalk.PrepareBufferNotification("note", numbered{}.payload())
	if err != nil {
		s.totals.failf("PrepareBufferNotification: %v", err)
		return
	}
	for !s.stopped() {
		s.tcp.Broadcast(p)
		s.web.Broadcast(p)
		s.pause(400 * time.Millisecond)
	}
}

// connect keeps a client connected, the i-th. There are four kinds.
func (s *soak) connect(i int) {
	rng, ws := s.random(uint64(i)), i%2 == 1
	if i%4 < 2 {
		s.keepSock(rng, ws)
	} else {
		s.keepClient(rng, ws)
	}
}

// keepSock uses a Sock that it connects again when its connection has ended, and that ends it by itself now and then.
func (s *soak) keepSock(rng *rand.Rand, ws bool) {
	sock := gotalk.NewSock(s.handlers)
	sock.HeartbeatInterval = heartbeat
	for !s.stopped() {
		ctx, cancel := context.WithTimeout(context.Background(), longestCall)
		began := time.Now()
		var err error
		if ws {
			err = sock.ConnectWebSocket(ctx, "ws://"+s.proxies[1].Addr(), limits, nil)
		} else {
			err = sock.ConnectContext(ctx, "tcp", s.proxies[0].Addr(), limits)
		}
		s.totals.judge("connect", connectOutcome(ctx, err), time.Since(began)-longestCall, s.lag.slack())
		cancel()
		if err != nil {
			s.pause(200 * time.Millisecond)
			continue
		}
		until := time.Now().Add(time.Duration(rng.Int64N(int64(longestLife))))
		s.use(sock, newNumbers(rng), rng, func() bool { return sock.IsClosed() || time.Now().After(until) })
		s.leave(sock, rng.IntN(2) == 0)
	}
}

// leave ends a connection, gracefully or not.
func (s *soak) leave(sock *gotalk.Sock, gracefully bool) {
	if !gracefully {
		sock.Close()
		return
	}
	var wg sync.WaitGroup
	wg.Add(1)
	began := time.Now()
	sock.Shutdown(&wg, time.Second)
	wg.Wait()
	if took := time.Since(began); took > time.Second+s.lag.slack() {
		s.totals.failf("the Shutdown of a Sock within a second took %v", took)
	}
	if !sock.IsClosed() {
		s.totals.failf("a Sock is open when its Shutdown is over")
	}
}

// keepClient uses a Client.
func (s *soak) keepClient(rng *rand.Rand, ws bool) {
	addr := "tcp://" + s.proxies[0].Addr()
	if ws {
		addr = "ws://" + s.proxies[1].Addr()
	}
	c := gotalk.NewClient(addr)
	c.Handlers, c.Limits, c.HeartbeatInterval = s.handlers, limits, heartbeat
	c.MinBackoff, c.MaxBackoff = 10*time.Millisecond, 300*time.Millisecond
	c.Idempotent = func(op string) bool { return op != "once" }
	if err := c.Start(); err != nil {
		s.totals.failf("Client.Start: %v", err)
		return
	}
	s.use(c.Sock, &numbers{}, rng, func() bool { return false })
	if rng.IntN(2) == 0 {
		c.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	c.Shutdown(ctx)
	if took := time.Since(began); took > time.Second+s.lag.slack() {
		s.totals.failf("the Shutdown of a Client within a second took %v", took)
	}
}
