package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const patience = 10 * time.Second

// scrape returns the lines that Prometheus gets and that begin with prefix.
func scrape(reg *prometheus.Registry, prefix string) (lines []string) {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// serve serves h and returns the server and a client of it.
func serve(t testing.TB, h *gotalk.Handlers, limits *gotalk.Limits) (*gotalk.Server, *gotalk.Sock) {
	quiet(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := gotalk.NewServer(h, limits, l)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Accept() }()
	c := gotalk.NewSock(nil)
	require.NoError(t, c.Connect("tcp", s.Addr(), nil))
	c.AutoRetryRequests = false
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		require.ErrorIs(t, <-stopped, gotalk.ErrServerClosed)
	})
	return s, c
}

// quiet keeps what handlers fail with on purpose out of the log.
func quiet(t testing.TB) {
	old := gotalk.HandlerErrorLogger
	gotalk.HandlerErrorLogger = func(*gotalk.Sock, string, ...any) {}
	t.Cleanup(func() { gotalk.HandlerErrorLogger = old })
}

// handlers has operations with every kind of outcome.
func handlers(m *metrics.Metrics) *gotalk.Handlers {
	h := &gotalk.Handlers{}
	h.Use(m.Intercept)
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	for op, f := range map[string]func(context.Context) error{
		"missing": func(context.Context) error { return gotalk.NewError(gotalk.CodeNotFound, "no such user") },
		"plain":   func(context.Context) error { return errors.New("disk on fire") },
		"own":     func(context.Context) error { return gotalk.NewError("on_fire", "") },
		"busy":    func(context.Context) error { return gotalk.RetryAfter(time.Second, "busy") },
		"panics":  func(context.Context) error { panic("at the disco") },
		"exits":   func(context.Context) error { runtime.Goexit(); return nil },
		"waits":   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		h.HandleBufferRequestContext(op, func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
			return nil, f(ctx)
		})
	}
	h.HandleBufferNotification("note", func(*gotalk.Sock, string, []byte) {})
	h.HandleStream("copy", func(_ context.Context, st *gotalk.Stream) error {
		_, err := io.Copy(st, st)
		return err
	})
	return h
}

func TestCalls(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := metrics.New(reg, nil)
	_, c := serve(t, handlers(m), nil)
	c.Use(m.Intercept)
	call := func(op string) {
		_, err := c.BufferRequest(op, []byte("abc"))
		require.Equal(t, op == "echo", err == nil)
	}
	for _, op := range []string{"echo", "echo", "missing", "plain", "own", "busy", "panics", "exits", "none"} {
		call(op)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		inFlight := func() int {
			return len(scrape(reg, `gotalk_calls_in_flight{kind="request",op="waits",side="server"} 1`))
		}
		for inFlight() == 0 {
			runtime.Gosched()
		}
		cancel()
	}()
	_, err := c.BufferRequestContext(ctx, "waits", nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, c.BufferNotify("note", []byte("abcd")))
	st, err := c.OpenStream(context.Background(), "copy")
	require.NoError(t, err)
	require.NoError(t, st.Send([]byte("twelve bytes")))
	require.NoError(t, st.CloseSend())
	b, err := io.ReadAll(st)
	require.NoError(t, err)
	require.Len(t, b, 12)

	client := []string{
		`gotalk_calls_total{code="internal",kind="request",op="exits",side="client"} 1`,
		`gotalk_calls_total{code="internal",kind="request",op="panics",side="client"} 1`,
		`gotalk_calls_total{code="not_found",kind="request",op="missing",side="client"} 1`,
		`gotalk_calls_total{code="ok",kind="notification",op="note",side="client"} 1`,
		`gotalk_calls_total{code="ok",kind="request",op="echo",side="client"} 2`,
		`gotalk_calls_total{code="ok",kind="stream",op="copy",side="client"} 1`,
		`gotalk_calls_total{code="other",kind="request",op="own",side="client"} 1`,
		`gotalk_calls_total{code="unavailable",kind="request",op="busy",side="client"} 1`,
		`gotalk_calls_total{code="canceled",kind="request",op="waits",side="client"} 1`,
		`gotalk_calls_total{code="unknown",kind="request",op="plain",side="client"} 1`,
	}
	want := []string{`gotalk_calls_total{code="unimplemented",kind="request",op="none",side="client"} 1`} // not served at all
	for _, line := range client {
		want = append(want, line, strings.Replace(line, "client", "server", 1))
	}
	require.EventuallyWithT(t, func(t *assert.CollectT) { // what nobody waits for ends some time
		require.ElementsMatch(t, want, scrape(reg, "gotalk_calls_total"))
		for _, line := range scrape(reg, "gotalk_calls_in_flight") {
			require.True(t, strings.HasSuffix(line, " 0"), line)
		}
	}, patience, 5*time.Millisecond)

	for i, line := range want { // the histogram counts the same
		want[i] = strings.Replace(line, "gotalk_calls_total", "gotalk_call_duration_seconds_count", 1)
	}
	require.ElementsMatch(t, want, scrape(reg, "gotalk_call_duration_seconds_count"))

	bytes := func(way, kind, op, side string, n int) {
		line := fmt.Sprintf(`gotalk_call_%s_bytes_total{kind="%s",op="%s",side="%s"} `, way, kind, op, side)
		require.Equal(t, []string{line + fmt.Sprint(n)}, scrape(reg, line))
	}
	for _, side := range []string{"server", "client"} {
		for _, way := range []string{"in", "out"} {
			bytes(way, "request", "echo", side, 6)
			bytes(way, "stream", "copy", side, 12)
		}
	}
	bytes("in", "notification", "note", "server", 4)
	bytes("out", "notification", "note", "client", 4)
	bytes("in", "request", "missing", "server", 3)
	bytes("out", "request", "missing", "server", 0)

	require.Len(t, scrape(reg, "gotalk_call_queue_seconds_count"), 9, "requests and notifications that were served")
	require.Contains(t, scrape(reg, "gotalk_call_queue_seconds_count"), `gotalk_call_queue_seconds_count{kind="request",op="echo"} 2`)
	require.Contains(t, scrape(reg, "gotalk_call_queue_seconds_bucket"), `gotalk_call_queue_seconds_bucket{kind="request",op="echo",le="30"} 2`)
}

// Requests wait when all handlers are at work, which is neither lost nor taken for work.
func TestQueueIsMeasured(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := metrics.New(reg, &metrics.Options{Buckets: []float64{0.000001, 1000}})
	h := &gotalk.Handlers{}
	h.Use(m.Intercept)
	started, finish := make(chan bool, 2), make(chan bool)
	h.HandleBufferRequest("slow", func(*gotalk.Sock, string, []byte) ([]byte, error) {
		started <- true
		<-finish
		return nil, nil
	})
	s, c := serve(t, h, &gotalk.Limits{MaxHandlers: 1})
	reg.MustRegister(metrics.StatsCollector(s.Stats, prometheus.Labels{"server": "tcp"}))
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- c.Request("slow", nil, nil) }()
	}
	<-started
	waiting := `gotalk_requests_waiting{server="tcp"} 1`
	require.Eventually(t, func() bool { return len(scrape(reg, waiting)) == 1 }, patience, time.Millisecond)
	require.Equal(t, []string{`gotalk_requests_running{server="tcp"} 1`}, scrape(reg, "gotalk_requests_running"))
	require.Equal(t, []string{`gotalk_connections{server="tcp"} 1`}, scrape(reg, "gotalk_connections"))
	require.Equal(t, []string{`gotalk_calls_pending{server="tcp"} 0`}, scrape(reg, "gotalk_calls_pending"))
	require.NotContains(t, scrape(reg, "gotalk_request_oldest_wait_seconds"), `gotalk_request_oldest_wait_seconds{server="tcp"} 0`)
	require.NotContains(t, scrape(reg, "gotalk_pending_bytes"), `gotalk_pending_bytes{server="tcp"} 0`)
	require.Len(t, scrape(reg, "gotalk_streams_served"), 1)
	require.Len(t, scrape(reg, "gotalk_unsent_bytes"), 1)
	require.Equal(t, []string{`gotalk_calls_in_flight{kind="request",op="slow",side="server"} 1`}, scrape(reg, "gotalk_calls_in_flight"))

	close(finish)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	require.Equal(t, []string{
		`gotalk_call_queue_seconds_bucket{kind="request",op="slow",le="1e-06"} 0`,
		`gotalk_call_queue_seconds_bucket{kind="request",op="slow",le="1000"} 2`,
		`gotalk_call_queue_seconds_bucket{kind="request",op="slow",le="+Inf"} 2`,
	}, scrape(reg, "gotalk_call_queue_seconds_bucket"))
}

// series returns how many operations there are series for.
func series(reg *prometheus.Registry, side string) (ops int) {
	for _, line := range scrape(reg, "gotalk_calls_in_flight") {
		if strings.Contains(line, `side="`+side+`"`) {
			ops++
		}
	}
	return ops
}

func TestNamesAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := metrics.New(reg, &metrics.Options{MaxOps: 5})
	h := &gotalk.Handlers{}
	h.Use(m.Intercept)
	h.HandleBufferRequest("", func(*gotalk.Sock, string, []byte) ([]byte, error) { return nil, nil })
	_, c := serve(t, h, nil)
	var calls sync.WaitGroup
	for i := range 100 {
		calls.Go(func() { c.BufferRequest(fmt.Sprintf("\xff\x00 %d \"\n", i), nil) })
	}
	calls.Wait()
	require.Equal(t, 5+1, series(reg, "server"))
	require.Equal(t, []string{`gotalk_calls_total{code="ok",kind="request",op="other",side="server"} 95`},
		scrape(reg, `gotalk_calls_total{code="ok",kind="request",op="other"`))

	c.Use(m.Intercept) // strangers have not taken the place of these
	for i := range 10 {
		_, err := c.BufferRequest(fmt.Sprint("mine ", i), nil)
		require.NoError(t, err)
	}
	require.Equal(t, 5+1, series(reg, "client"))
	require.Len(t, scrape(reg, `gotalk_calls_total{code="ok",kind="request",op="mine 0",side="client"} 1`), 1)
}

func TestOnlyNamesThatCount(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := metrics.New(reg, &metrics.Options{Ops: []string{"a", "b"}})
	h := &gotalk.Handlers{}
	h.Use(m.Intercept)
	h.HandleBufferRequest("", func(*gotalk.Sock, string, []byte) ([]byte, error) { return nil, nil })
	_, c := serve(t, h, nil)
	for _, op := range []string{"x", "y", "a", "b", "b"} {
		_, err := c.BufferRequest(op, nil)
		require.NoError(t, err)
	}
	require.Equal(t, []string{
		`gotalk_calls_total{code="ok",kind="request",op="a",side="server"} 1`,
		`gotalk_calls_total{code="ok",kind="request",op="b",side="server"} 2`,
		`gotalk_calls_total{code="ok",kind="request",op="other",side="server"} 2`,
	}, scrape(reg, "gotalk_calls_total"))
}

func TestStatsOfSeveralServers(t *testing.T) {
	reg := prometheus.NewRegistry()
	tcp, c := serve(t, &gotalk.Handlers{}, nil)
	web := gotalk.NewWebSocketServer()
	reg.MustRegister(
		metrics.StatsCollector(tcp.Stats, prometheus.Labels{"server": "tcp"}),
		metrics.StatsCollector(web.Stats, prometheus.Labels{"server": "web"}),
		metrics.StatsCollector(c.Stats, prometheus.Labels{"server": "none"}),
	)
	require.Equal(t, []string{
		`gotalk_connections{server="none"} 1`, `gotalk_connections{server="tcp"} 1`, `gotalk_connections{server="web"} 0`,
	}, scrape(reg, "gotalk_connections"))
}

func TestSecondMetricsPanics(t *testing.T) {
	reg := prometheus.NewRegistry()
	metrics.New(reg, nil)
	require.Panics(t, func() { metrics.New(reg, nil) })
	require.NotPanics(t, func() {
		metrics.New(prometheus.WrapRegistererWith(prometheus.Labels{"service": "b"}, prometheus.NewRegistry()), nil)
	})
}

func BenchmarkIntercept(b *testing.B) {
	m := metrics.New(prometheus.NewRegistry(), nil)
	info := &gotalk.CallInfo{Op: "echo", Served: true, Received: time.Now()}
	next := func(context.Context) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		m.Intercept(context.Background(), info, next)
	}
}
