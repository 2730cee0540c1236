package gotalk_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

const kib, mib = 1 << 10, 1 << 20

// attack is what a peer does to make the other side hold memory for it. It reads nothing.
type attack struct {
	name  string
	conns int                // that do it at once; what is held is for each
	bound int                // bytes that may be held, with the connection itself
	say   string             // once, behind the version
	flood func(i int) string // then again and again
	times int                // at the most
	ping  bool               // flood makes WebSocket frames, not messages
	http  string             // instead of all that: what an HTTP connection begins with; the upgrade, if it ends
}

// attacks are against default Limits.
func attacks() []attack {
	text := func(n int) string { return strings.Repeat("x", n) }
	same := func(m string) func(int) string { return func(int) string { return m } }
	// each makes messages whose ids are all different, n at a time.
	each := func(n int, f func(id string) string) func(int) string {
		return func(i int) string {
			var b strings.Builder
			for j := range n {
				b.WriteString(f(string(binary.LittleEndian.AppendUint32(nil, uint32(n*i+j)))))
			}
			return b.String()
		}
	}
	meta := func(id, json string) string { return notification("gotalk:meta", id+json) }
	const half = `{"size":16777216}`
	hello := notification("gotalk:hello", helloTCP)
	header := begin("0001", "sits", 0)
	return []attack{
		{name: "says nothing more", conns: 200, bound: 16 * kib},
		{name: "half a header", conns: 200, bound: 16 * kib, say: "r0001fff" + text(1000)},
		{name: "a request of 4 GiB, claimed", conns: 200, bound: 16 * kib, say: "r0001004echoffffffffx"},
		{name: "a request of 16 MiB, claimed", conns: 200, bound: 96 * kib, say: "r0001004echo01000000x"},
		{name: "a notification of 16 MiB, claimed", conns: 200, bound: 96 * kib, say: "n004slow01000000x"},
		{name: "a stream's part of 16 MiB, claimed", conns: 200, bound: 96 * kib, say: header + "p000101000000x"},
		{name: "a result of 4 GiB, claimed", conns: 200, bound: 16 * kib, say: "R0001ffffffffx"},
		{name: "a split request of 16 MiB, begun", conns: 200, bound: 96 * kib,
			say: hello + meta("0001", half) + begin("0001", "echo", kib) + text(kib)},
		{name: "a stream that stalls", conns: 200, bound: 32 * kib, say: hello + begin("0001", "sits", 1) + "x"},
		{name: "a slow request", conns: 200, bound: 32 * kib, say: request("0001", "slow", 0)},

		{name: "half an upgrade request", conns: 200, bound: 32 * kib, http: "GET / HTTP/1.1\r\nHost: a\r\nX: " + text(1000)},
		{name: "an upgrade request of 900 KiB", conns: 20, bound: mib, http: "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n" +
			"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n" +
			"X: " + text(900*kib) + "\r\n\r\n"},

		{name: "heartbeats", bound: mib, flood: same(strings.Repeat("h00005fee6600", 1000)), times: 200},
		{name: "hellos", bound: 8 * mib, flood: same(strings.Repeat(hello, 100)), times: 200},
		{name: "results that nobody waits for", bound: mib, times: 50, flood: each(1000, func(id string) string {
			return part("R", id, 0) + part("S", id, 1) + "x" + part("E", id, 0) + "e" + id + "0000000000000000"
		})},
		{name: "credit, and cancels, of nothing", bound: mib, say: hello, times: 50,
			flood: each(1000, func(id string) string { return credit("S", id, 1) + notification("gotalk:cancel", id) })},
		{name: "metadata of no requests", bound: 4 * mib, say: hello, times: 500,
			flood: same(meta("0001", `{"a":"`+text(16_000)+`"}`))},
		{name: "unknown operations", bound: 16 * mib, times: 1000,
			flood: each(1000, func(id string) string { return request(id, "none", 0) })},
		{name: "streams of unknown operations", bound: 16 * mib, times: 1000,
			flood: each(1000, func(id string) string { return begin(id, "none", 0) + part("p", id, 1) + "x" })},
		{name: "requests whose results are 1 MiB", bound: 32 * mib, times: 100,
			flood: same(strings.Repeat(request("0001", "big.", 0), 100))},
		{name: "slow requests", bound: 32 * mib, times: 100,
			flood: each(1000, func(id string) string { return request(id, "slow", 0) })},
		{name: "slow requests of 64 KiB", bound: 48 * mib, times: 2000,
			flood: same(request("0001", "slow", 64*kib) + text(64*kib))},
		{name: "requests that can be cancelled", bound: 128 * mib, say: hello, times: 1000,
			flood: each(1000, func(id string) string { return request(id, "wait", 0) })},
		{name: "slow notifications", bound: 96 * mib, flood: same(strings.Repeat("n004slow00000000", 1000)), times: 2000},
		{name: "slow notifications of 64 KiB", bound: 48 * mib, flood: same("n004slow00010000" + text(64*kib)), times: 2000},
		{name: "parts of a stream that sits", bound: 48 * mib, say: header, times: 2000,
			flood: same(part("p", "0001", 64*kib) + text(64*kib))},
		{name: "streams that sit", bound: 192 * mib, say: hello, times: 50,
			flood: each(1000, func(id string) string { return begin(id, "sits", 0) })},
		{name: "streams that sit, with metadata", bound: 192 * mib, say: hello, times: 50,
			flood: each(1000, func(id string) string { return meta(id, `{"a":"`+text(2000)+`"}`) + begin(id, "sits", 0) })},
		{name: "split requests of 64 KiB, begun", bound: 64 * mib, say: hello, times: 2000,
			flood: each(1, func(id string) string { return meta(id, half) + begin(id, "echo", 64*kib) + text(64*kib) })},
		{name: "split requests without a byte, begun", bound: 128 * mib, say: hello, times: 500,
			flood: each(1000, func(id string) string { return meta(id, half) + begin(id, "wait", 0) })},
		{name: "pings", bound: 8 * mib, flood: same(strings.Repeat("\x89\x84\x00\x00\x00\x00ping", 1000)), times: 1000, ping: true},
	}
}

// liveMemory is what the process holds, of heap and stacks, when what it does not need is gone.
func liveMemory() int64 {
	runtime.GC()
	runtime.GC() // what the first one has left in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// held tells how many bytes an attack makes this process hold for each connection: all of the server's end, and a net.Conn of
// the other. It looks when nobody takes any more.
func (a attack) held(s *testServer) int64 {
	before := liveMemory()
	var conns []net.Conn
	var socks []*gotalk.Sock
	for range max(1, a.conns) {
		if a.http != "" {
			c := s.dial()
			_, err := io.WriteString(c, a.http)
			require.NoError(s, err)
			conns = append(conns, c)
			continue
		}
		p := s.peer()
		if a.say != "" {
			p.say(a.say)
		}
		conns, socks = append(conns, p.w.nc), append(socks, s.sock())
	}
	taken := new(atomic.Int64)
	ended := inBackground(func() bool {
		for i := range a.times {
			m := []byte(a.flood(i))
			if s.ws && !a.ping {
				m = (&wire{ws: true, client: true}).appendFrame(nil, true, 2, m)
			}
			if _, err := conns[0].Write(m); err != nil {
				return true
			}
			taken.Add(1)
		}
		return true
	})
	var held int64
	// Again if the attack goes on meanwhile, and makes garbage: a busy machine has held it up.
	for at := int64(-1); at != taken.Load(); {
		standsStill(s, taken)
		at = taken.Load()
		held = (liveMemory() - before) / int64(len(conns))
	}
	for _, c := range conns {
		c.Close()
	}
	for _, sock := range socks {
		sock.Close() // it may have stopped reading, and notice later
	}
	<-ended
	return held
}

// What a peer makes the other side hold is bounded, whatever it does. SECURITY.md has the bounds, see TestSecurityDocBounds.
func TestBounds(t *testing.T) {
	for _, ws := range []bool{false, true} {
		for _, a := range attacks() {
			if (a.ping || a.http != "") && !ws {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", map[bool]string{false: "tcp", true: "websocket"}[ws], a.name), func(t *testing.T) {
				goroutines := runtime.NumGoroutine()
				t.Cleanup(func() { settledGoroutines(t, goroutines) }) // or the next figure is wrong
				gate := make(chan struct{})
				defer close(gate)
				serve := serveTCP
				if ws {
					serve = serveWebSocket
				}
				held := a.held(serve(t, attacked(gate), nil))
				t.Logf("%9d bytes of %9d", held, a.bound)
				bound := int64(a.bound)
				if raceDetector {
					bound *= 4
				}
				require.Less(t, held, bound)
			})
		}
	}
}

// attacked has operations of which some do not end before gate is closed.
func attacked(gate chan struct{}) *gotalk.Handlers {
	h := echoHandlers()
	h.HandleBufferRequest("big.", func(*gotalk.Sock, string, []byte) ([]byte, error) { return make([]byte, mib), nil })
	h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) { <-gate; return nil, nil })
	h.HandleBufferRequestContext("wait", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	h.HandleBufferNotification("slow", func(*gotalk.Sock, string, []byte) { <-gate })
	h.HandleStream("sits", func(ctx context.Context, _ *gotalk.Stream) error { <-ctx.Done(); return nil })
	return h
}

// A payload that comes a byte a second takes no more than one that is only claimed, and ends when so slow a connection does.
func TestByteASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInMemory(t, echoHandlers(), nil)
		var peers []*peer
		before := liveMemory()
		for range 100 {
			p := s.peer()
			p.say("r0001004echo01000000")
			peers = append(peers, p)
		}
		ended := 0
		for second := 0; ended == 0; second++ {
			time.Sleep(time.Second) // virtual
			synctest.Wait()
			if second == 20 {
				held := (liveMemory() - before) / int64(len(peers))
				t.Logf("%9d bytes, with 8 KiB of the test's own", held)
				require.Less(t, held, int64(128*kib))
			}
			for _, p := range peers {
				if p.trySay("x") != nil {
					ended++
				}
			}
			require.Less(t, second, 60)
		}
		require.Equal(t, len(peers), ended)
		synctest.Wait()
		require.Zero(t, s.tcp.Stats().Connections)
	})
}
