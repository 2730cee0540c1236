package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/tracing"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const patience = 10 * time.Second

// recorder keeps the spans of a test.
type recorder struct {
	testing.TB
	spans    *tracetest.InMemoryExporter
	provider *sdk.TracerProvider
}

func record(t testing.TB, options ...sdk.TracerProviderOption) *recorder {
	old := gotalk.HandlerErrorLogger
	gotalk.HandlerErrorLogger = func(*gotalk.Sock, string, ...any) {}
	t.Cleanup(func() { gotalk.HandlerErrorLogger = old })
	r := &recorder{TB: t, spans: tracetest.NewInMemoryExporter()}
	r.provider = sdk.NewTracerProvider(append(options, sdk.WithSyncer(r.spans))...)
	return r
}

// interceptor returns what is tested.
func (r *recorder) interceptor() gotalk.Interceptor {
	return tracing.New(&tracing.Options{TracerProvider: r.provider})
}

// find returns the span of that name and kind, when it has ended.
func (r *recorder) find(name string, kind trace.SpanKind) (found tracetest.SpanStub) {
	require.Eventually(r, func() bool {
		for _, s := range r.spans.GetSpans() {
			if s.Name == name && s.SpanKind == kind {
				found = s
				return true
			}
		}
		return false
	}, patience, time.Millisecond, "no span %s of kind %s", name, kind)
	return found
}

func (r *recorder) caller(name string) tracetest.SpanStub { return r.find(name, trace.SpanKindClient) }
func (r *recorder) server(name string) tracetest.SpanStub { return r.find(name, trace.SpanKindServer) }

// isChild checks that two spans are of one trace, and how.
func (r *recorder) isChild(child, parent tracetest.SpanStub) {
	require.True(r, parent.SpanContext.IsValid())
	require.Equal(r, parent.SpanContext.TraceID(), child.SpanContext.TraceID(), "one trace")
	require.Equal(r, parent.SpanContext.SpanID(), child.Parent.SpanID())
}

func (r *recorder) isRoot(s tracetest.SpanStub) {
	require.True(r, s.SpanContext.IsValid())
	require.False(r, s.Parent.IsValid())
}

func attr(s tracetest.SpanStub, key string) any {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.AsInterface()
		}
	}
	return nil
}

func serve(t testing.TB, h *gotalk.Handlers) *gotalk.Server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := gotalk.NewServer(h, nil, l)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Accept() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		require.ErrorIs(t, <-stopped, gotalk.ErrServerClosed)
	})
	return s
}

func connect(t testing.TB, s *gotalk.Server, around ...gotalk.Interceptor) *gotalk.Sock {
	c := gotalk.NewSock(nil)
	require.NoError(t, c.Connect("tcp", s.Addr(), nil))
	t.Cleanup(func() { c.Close() })
	c.AutoRetryRequests = false
	c.Use(around...)
	return c
}

func handle(h *gotalk.Handlers, op string, f func(ctx context.Context) error) {
	h.HandleBufferRequestContext(op, func(ctx context.Context, _ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		return b, f(ctx)
	})
}

func TestTwoHopsJoin(t *testing.T) {
	r := record(t)
	seen := make(chan map[string]string, 1)
	far, near := &gotalk.Handlers{}, &gotalk.Handlers{}
	far.Use(r.interceptor())
	handle(far, "leaf", func(ctx context.Context) error { seen <- gotalk.MetaFrom(ctx); return nil })
	onward := connect(t, serve(t, far), r.interceptor())
	near.Use(r.interceptor())
	handle(near, "forward", func(ctx context.Context) error {
		ctx = gotalk.WithMeta(ctx, map[string]string{"tenant": "acme"})
		_, err := onward.BufferRequestContext(ctx, "leaf", []byte("abc"))
		return err
	})
	s := serve(t, near)
	c := connect(t, s, r.interceptor())

	ctx, root := r.provider.Tracer("test").Start(context.Background(), "page")
	_, err := c.BufferRequestContext(ctx, "forward", []byte("abcd"))
	require.NoError(t, err)
	root.End()
	require.Equal(t, "acme", (<-seen)["tenant"], "what is sent along otherwise stays")

	r.isChild(r.caller("forward"), r.find("page", trace.SpanKindInternal))
	r.isChild(r.server("forward"), r.caller("forward"))
	r.isChild(r.caller("leaf"), r.server("forward"))
	r.isChild(r.server("leaf"), r.caller("leaf"))
	require.True(t, r.server("leaf").Parent.IsRemote())
	require.Len(t, r.spans.GetSpans(), 5)

	for _, s := range []tracetest.SpanStub{r.caller("forward"), r.server("forward")} {
		require.Equal(t, "gotalk", attr(s, "rpc.system.name"))
		require.Equal(t, "forward", attr(s, "rpc.method"))
		require.Equal(t, "ok", attr(s, "rpc.response.status_code"))
		require.Equal(t, "request", attr(s, "gotalk.kind"))
		require.Equal(t, "127.0.0.1", attr(s, "network.peer.address"))
		require.Equal(t, int64(4), attr(s, "gotalk.bytes_in"))
		require.Equal(t, int64(4), attr(s, "gotalk.bytes_out"))
		require.Nil(t, attr(s, "error.type"))
		require.Equal(t, codes.Unset, s.Status.Code)
		require.False(t, s.EndTime.Before(s.StartTime))
	}
	_, port, _ := net.SplitHostPort(s.Addr())
	require.Equal(t, port, fmt.Sprint(attr(r.caller("forward"), "server.port")))
	require.GreaterOrEqual(t, attr(r.server("forward"), "gotalk.queued_ms"), 0.0)
	require.Nil(t, attr(r.caller("forward"), "gotalk.queued_ms"))
}

func TestStreamsJoin(t *testing.T) {
	r := record(t)
	h := &gotalk.Handlers{}
	h.Use(r.interceptor())
	h.HandleStream("copy", func(_ context.Context, st *gotalk.Stream) error {
		_, span := r.provider.Tracer("test").Start(st.Context(), "inside")
		defer span.End()
		_, err := io.Copy(st, st)
		return err
	})
	c := connect(t, serve(t, h), r.interceptor())
	st, err := c.OpenStream(context.Background(), "copy")
	require.NoError(t, err)
	require.NoError(t, st.Send([]byte("twelve bytes")))
	_, err = st.Recv()
	require.NoError(t, err)
	require.Empty(t, r.spans.GetSpans(), "they last as long as the stream")
	require.NoError(t, st.CloseSend())
	_, err = st.Recv()
	require.Equal(t, io.EOF, err)

	r.isRoot(r.caller("copy"))
	r.isChild(r.server("copy"), r.caller("copy"))
	r.isChild(r.find("inside", trace.SpanKindInternal), r.server("copy"))
	require.Equal(t, "stream", attr(r.server("copy"), "gotalk.kind"))
	require.Equal(t, int64(12), attr(r.server("copy"), "gotalk.bytes_out"))
}

func TestNotificationsBeginATrace(t *testing.T) {
	r := record(t)
	h := &gotalk.Handlers{}
	h.Use(r.interceptor())
	h.HandleBufferNotification("note", func(*gotalk.Sock, string, []byte) {})
	c := connect(t, serve(t, h), r.interceptor())
	ctx, root := r.provider.Tracer("test").Start(context.Background(), "page")
	require.NoError(t, c.BufferNotifyContext(ctx, "note", nil))
	root.End()
	r.isChild(r.caller("note"), r.find("page", trace.SpanKindInternal))
	r.isRoot(r.server("note"))
	require.Equal(t, "notification", attr(r.server("note"), "gotalk.kind"))
}

// Between peers one of which has no extensions, calls work and each side has a trace of its own.
func TestOldPeers(t *testing.T) {
	for _, name := range []string{"caller", "server"} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			h := &gotalk.Handlers{}
			h.Use(r.interceptor())
			metas := make(chan map[string]string, 1)
			handle(h, "op", func(ctx context.Context) error { metas <- gotalk.MetaFrom(ctx); return nil })
			s := serve(t, h)
			s.AcceptHandler = func(sock *gotalk.Sock) { sock.NoExtensions = name == "server" }
			c := gotalk.NewSock(nil)
			c.NoExtensions = name == "caller"
			require.NoError(t, c.Connect("tcp", s.Addr(), nil))
			t.Cleanup(func() { c.Close() })
			c.Use(r.interceptor())
			b, err := c.BufferRequest("op", []byte("abc"))
			require.NoError(t, err)
			require.Equal(t, "abc", string(b))
			require.Nil(t, <-metas)
			r.isRoot(r.caller("op"))
			r.isRoot(r.server("op"))
			require.NotEqual(t, r.caller("op").SpanContext.TraceID(), r.server("op").SpanContext.TraceID())
		})
	}
}

func TestOutcomes(t *testing.T) {
	r := record(t)
	h := &gotalk.Handlers{}
	h.Use(r.interceptor())
	c := connect(t, serve(t, h), r.interceptor())
	for _, test := range []struct {
		op, code, text string // text is what the caller has
		serverText     string // what the server's span fails with; "" means that it has not failed
		f              func(context.Context) error
	}{
		{"missing", "not_found", "no such user", "",
			func(context.Context) error { return gotalk.NewError(gotalk.CodeNotFound, "no such user") }},
		{"own", "on_fire", "burning", "", func(context.Context) error { return gotalk.NewError("on_fire", "burning") }},
		{"plain", "unknown", "oops", "oops", func(context.Context) error { return errors.New("oops") }},
		{"busy", "unavailable", "busy", "busy", func(context.Context) error { return gotalk.RetryAfter(time.Second, "busy") }},
		{"panics", "internal", "internal error", "panic: at the disco", func(context.Context) error { panic("at the disco") }},
		{"exits", "internal", "internal error", "internal: the handler has ended its goroutine",
			func(context.Context) error { runtime.Goexit(); return nil }},
		{"bytes \xff", "unknown", "a\uFFFDb", "a\uFFFDb", func(context.Context) error { return errors.New("a\xffb") }},
	} {
		handle(h, test.op, test.f)
		_, err := c.BufferRequest(test.op, nil)
		require.Error(t, err)
		op := strings.ToValidUTF8(test.op, "\uFFFD")
		ours, theirs := r.caller(op), r.server(op)
		r.isChild(theirs, ours)
		require.Equal(t, op, attr(theirs, "rpc.method"))
		require.Equal(t, test.code, attr(ours, "rpc.response.status_code"))
		require.Equal(t, test.code, attr(theirs, "rpc.response.status_code"))
		require.Equal(t, test.code, attr(ours, "error.type"))
		require.Equal(t, sdk.Status{Code: codes.Error, Description: test.text}, ours.Status)
		require.Equal(t, "exception", ours.Events[0].Name)
		require.Equal(t, "exception", theirs.Events[0].Name)
		if test.serverText == "" {
			require.Zero(t, theirs.Status)
			require.Nil(t, attr(theirs, "error.type"))
			continue
		}
		require.Equal(t, sdk.Status{Code: codes.Error, Description: test.serverText}, theirs.Status)
		require.Equal(t, test.code, attr(theirs, "error.type"))
		if test.op == "panics" {
			attrs := attribute.NewSet(theirs.Events[0].Attributes...)
			stack, _ := attrs.Value("exception.stacktrace")
			require.Contains(t, stack.AsString(), "TestOutcomes")
		}
	}
}

func TestCancelledCall(t *testing.T) {
	r := record(t)
	h := &gotalk.Handlers{}
	h.Use(r.interceptor())
	ctx, cancel := context.WithCancel(context.Background())
	handle(h, "waits", func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() })
	_, err := connect(t, serve(t, h), r.interceptor()).BufferRequestContext(ctx, "waits", nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "canceled", attr(r.caller("waits"), "error.type"))
	require.Equal(t, "canceled", attr(r.server("waits"), "rpc.response.status_code"))
	require.Equal(t, codes.Unset, r.server("waits").Status.Code, "it is not to blame")
}

// Whether a trace is recorded is decided where it begins, and what systems on the way have to say goes along.
func TestTraceStateAndSampling(t *testing.T) {
	r := record(t, sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample())))
	h := &gotalk.Handlers{}
	h.Use(r.interceptor())
	seen := make(chan trace.SpanContext, 1)
	handle(h, "op", func(ctx context.Context) error { seen <- trace.SpanContextFromContext(ctx); return nil })
	c := connect(t, serve(t, h), r.interceptor())
	state, err := trace.ParseTraceState("vendor=1")
	require.NoError(t, err)
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
		parent := trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: flags, TraceState: state,
		})
		_, err := c.BufferRequestContext(trace.ContextWithSpanContext(context.Background(), parent), "op", nil)
		require.NoError(t, err)
		got := <-seen
		require.Equal(t, parent.TraceID(), got.TraceID())
		require.Equal(t, flags, got.TraceFlags()&trace.FlagsSampled)
		require.Equal(t, "vendor=1", got.TraceState().String())
		if flags == 0 {
			require.Empty(t, r.spans.GetSpans())
		} else {
			r.isChild(r.server("op"), r.caller("op"))
		}
	}
}

func TestBaggageOnlyIfTold(t *testing.T) {
	member, err := baggage.NewMember("tenant", "acme")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	ctx := baggage.ContextWithBaggage(context.Background(), bag)
	both := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	for _, test := range []struct {
		propagator propagation.TextMapPropagator
		want       string
	}{{nil, ""}, {both, "acme"}} {
		r := record(t)
		ic := tracing.New(&tracing.Options{TracerProvider: r.provider, Propagator: test.propagator})
		h := &gotalk.Handlers{}
		h.Use(ic)
		var got string
		handle(h, "op", func(ctx context.Context) error {
			got = baggage.FromContext(ctx).Member("tenant").Value()
			return nil
		})
		_, err := connect(t, serve(t, h), ic).BufferRequestContext(ctx, "op", nil)
		require.NoError(t, err)
		require.Equal(t, test.want, got)
		r.isChild(r.server("op"), r.caller("op"))
	}
}

// A WebSocket's connection begins as a request that may have a span: the calls on it refer to that, and are not in it.
func TestSpanAroundTheConnection(t *testing.T) {
	r := record(t)
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = &gotalk.Handlers{}
	ws.Handlers.Use(r.interceptor())
	handle(ws.Handlers, "op", func(context.Context) error { return nil })
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx, span := r.provider.Tracer("test").Start(req.Context(), "upgrade")
		defer span.End()
		ws.ServeHTTP(w, req.WithContext(ctx))
	}))
	t.Cleanup(web.Close)
	c := gotalk.NewSock(nil)
	require.NoError(t, c.ConnectWebSocket(context.Background(), "ws"+strings.TrimPrefix(web.URL, "http"), nil, nil))
	_, err := c.BufferRequest("op", nil) // by somebody who does not trace
	require.NoError(t, err)
	c.Use(r.interceptor())
	root := r.server("op")
	r.isRoot(root)
	upgrade := r.find("upgrade", trace.SpanKindInternal) // has ended by now
	r.spans.Reset()
	_, err = c.BufferRequest("op", nil)
	require.NoError(t, err)
	r.isChild(r.server("op"), r.caller("op"))
	require.NoError(t, c.Close())

	require.Len(t, root.Links, 1)
	require.Equal(t, upgrade.SpanContext, root.Links[0].SpanContext)
	require.Len(t, r.server("op").Links, 1)
}

func TestAddressWithoutPort(t *testing.T) {
	r := record(t)
	h := &gotalk.Handlers{}
	handle(h, "op", func(context.Context) error { return nil })
	a, b, err := gotalk.Pipe(h, nil)
	require.NoError(t, err)
	defer a.Close()
	defer b.Close()
	a.Use(r.interceptor())
	_, err = a.BufferRequest("op", nil)
	require.NoError(t, err)
	require.Equal(t, "pipe", attr(r.caller("op"), "server.address"))
	require.Nil(t, attr(r.caller("op"), "server.port"))
}

// Without a provider nothing is recorded, and nothing is sent.
func TestDefaultProvider(t *testing.T) {
	h := &gotalk.Handlers{}
	h.Use(tracing.New(nil))
	handle(h, "op", func(ctx context.Context) error {
		if gotalk.MetaFrom(ctx) != nil {
			return errors.New("something came along")
		}
		return nil
	})
	_, err := connect(t, serve(t, h), tracing.New(&tracing.Options{})).BufferRequest("op", nil)
	require.NoError(t, err)
}
