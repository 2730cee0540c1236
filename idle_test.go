package gotalk_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// idleServerEnv makes the test binary serve connections instead of testing, so that a process can be measured that has
// nothing but a server's ends of them.
const idleServerEnv = "GOTALK_TEST_IDLE_SERVER"

// serveIdle prints the address of a server, and for each line that it reads what the process holds.
func serveIdle(kind string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	if kind == "websocket" {
		ws := gotalk.NewWebSocketServer()
		ws.Handlers = echoHandlers()
		go http.Serve(l, ws)
	} else {
		go gotalk.NewServer(echoHandlers(), nil, l).Accept()
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		for range 3 { // sync.Pools keep things for two
			runtime.GC()
		}
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(m.HeapAlloc+m.StackInuse, residentKB()<<10)
	}
}

// residentKB tells how much memory of the process is in use, 0 where the system does not say.
func residentKB() (kb int64) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if fmt.Sscanf(line, "VmRSS: %d", &kb); kb > 0 {
			break
		}
	}
	return kb
}

// measureIdle tells how many bytes of a server process each of n idle connections takes: heap and stacks, and all that is
// resident. begin makes a connection to the server.
func measureIdle(t testing.TB, kind string, n int, begin func(addr string)) (held, resident int64) {
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), idleServerEnv+"="+kind)
	stdin, err := server.StdinPipe()
	require.NoError(t, err)
	stdout, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	defer func() {
		stdin.Close() // ends it
		require.NoError(t, server.Wait())
	}()
	var addr string
	_, err = fmt.Fscanln(stdout, &addr)
	require.NoError(t, err)
	measure := func() (held, resident int64) {
		io.WriteString(stdin, "measure\n")
		_, err := fmt.Fscanln(stdout, &held, &resident)
		require.NoError(t, err)
		return held, resident
	}
	begin(addr)
	held, resident = measure()
	for range n {
		begin(addr)
	}
	heldAfter, residentAfter := measure()
	return (heldAfter - held) / int64(n), (residentAfter - resident) / int64(n)
}

// idleClients are ways to begin a connection that is idle then.
var idleClients = []struct {
	name, server string
	most         int64 // bytes that a connection may take
	begin        func(t testing.TB) func(addr string)
}{
	{"old peer", "websocket", 7000, func(t testing.TB) func(string) {
		return func(addr string) { idlePeer(t, addr, true) }
	}},
	{"peer that has called", "websocket", 7000, func(t testing.TB) func(string) {
		return func(addr string) {
			p := idlePeer(t, addr, true)
			p.echoes()
			p.say("h000000000000")
			r, err := p.read(false) // the answer
			require.NoError(t, err)
			require.Equal(t, "h", string(r.frames[0][:1]))
		}
	}},
	{"Go", "websocket", 7000, func(t testing.TB) func(string) {
		return func(addr string) {
			c := quietSock(nil)
			require.NoError(t, c.ConnectWebSocket(t.Context(), "ws://"+addr, nil, nil))
			t.Cleanup(func() { c.Close() })
		}
	}},
	{"old peer", "tcp", 6000, func(t testing.TB) func(string) {
		return func(addr string) { idlePeer(t, addr, false) }
	}},
	{"Go", "tcp", 6000, func(t testing.TB) func(string) {
		return func(addr string) {
			c := quietSock(nil)
			require.NoError(t, c.Connect("tcp", addr, nil))
			t.Cleanup(func() { c.Close() })
		}
	}},
}

func idlePeer(t testing.TB, addr string, ws bool) *peer {
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	br := bufio.NewReaderSize(nc, 16)
	if ws {
		br = upgrade(t, nc, "http://127.0.0.1")
	}
	p := newPeer(t, nc, br, ws, true)
	p.shakeHands()
	return p
}

// An idle connection takes little memory of a server: no buffers, and one goroutine with a small stack.
func TestIdleConnectionsTakeLittle(t *testing.T) {
	for _, c := range idleClients {
		t.Run(c.server+"/"+c.name, func(t *testing.T) {
			held, _ := measureIdle(t, c.server, 400, c.begin(t))
			t.Logf("%d bytes of heap and stacks per connection", held)
			if raceDetector {
				held -= 2500
			}
			require.Less(t, held, c.most)
		})
	}
}

// BenchmarkIdle says how much memory of a server process an idle connection takes.
func BenchmarkIdle(b *testing.B) {
	for _, c := range idleClients {
		b.Run(c.server+"/"+strings.ReplaceAll(c.name, " ", "_"), func(b *testing.B) {
			var held, resident int64
			for b.Loop() {
				held, resident = measureIdle(b, c.server, 4000, c.begin(b))
			}
			b.ReportMetric(float64(held), "heap+stack-B/conn")
			b.ReportMetric(float64(resident), "resident-B/conn")
		})
	}
}
