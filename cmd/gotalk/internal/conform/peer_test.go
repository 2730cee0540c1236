package conform_test

import (
	"context"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	gotalk.HandlerErrorLogger, gotalk.ErrorLogger = nil, nil // peers here fail all the time
	flag.Set("test.parallel", "32")                          // they wait most of the time
	os.Exit(m.Run())
}

// handlers has the operations of conform.Operations.
func handlers() *gotalk.Handlers {
	h := &gotalk.Handlers{}
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	h.HandleBufferRequest("fail", func(*gotalk.Sock, string, []byte) ([]byte, error) {
		return nil, gotalk.NewError(gotalk.CodeAborted, "something's amiss ☃")
	})
	h.HandleBufferRequestContext("wait", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	h.HandleBufferRequest("call", func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) { return s.BufferRequest("answer", b) })
	h.HandleStream("stream", func(_ context.Context, st *gotalk.Stream) error {
		for part, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(part); err != nil {
				return err
			}
		}
		return nil
	})
	h.HandleBufferNotification("ping", func(s *gotalk.Sock, _ string, b []byte) { s.BufferNotify("pong", b) })
	return h
}

// serveTCP serves handlers, and returns the address.
func serveTCP(t testing.TB, h *gotalk.Handlers, limits *gotalk.Limits) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return serve(t, l, h, limits)
}

func serve(t testing.TB, l net.Listener, h *gotalk.Handlers, limits *gotalk.Limits) string {
	s := gotalk.NewServer(h, limits, l)
	go s.Accept() // ends with Shutdown
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
	})
	return l.Addr().String()
}

// serveWebSocket serves handlers, and returns the address.
func serveWebSocket(t testing.TB, h *gotalk.Handlers, limits *gotalk.Limits) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := gotalk.NewWebSocketServer()
	s.Handlers, s.Limits = h, limits
	web := &http.Server{Handler: s}
	go web.Serve(l) // ends with Close
	t.Cleanup(func() { web.Close() })
	return "ws://" + l.Addr().String() + "/gotalk/"
}

// options are for peers on this machine.
func options(addr string) conform.Options {
	return conform.Options{Addr: addr, Timeout: 20 * time.Second, Quiet: 10 * time.Millisecond}
}

// check runs all checks. What they print is printed if the test fails.
func check(t testing.TB, o conform.Options) *conform.Report {
	var text strings.Builder
	p := &conform.Printer{W: &text}
	report, err := conform.Run(t.Context(), o, p.Print)
	require.NoError(t, err)
	p.Summary(report)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(text.String())
		}
	})
	return report
}

// ended returns the names of checks that ended so.
func ended(r *conform.Report, outcome string) (names []string) {
	for _, result := range r.Results {
		if result.Outcome == outcome {
			names = append(names, result.Name)
		}
	}
	return names
}

func unixListener(t testing.TB) (net.Listener, string) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	return l, path
}
