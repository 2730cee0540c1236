// Package tracing makes OpenTelemetry spans of what a program calls and serves with gotalk, and joins those of both sides.
//
//	traced := tracing.New(nil)
//	gotalk.DefaultHandlers.Use(traced) // a span for each call of a peer's
//	sock.Use(traced)                   // a span for each call on that connection
//
// The handler's context carries its span, so what the handler calls with it becomes part of the same trace, over any
// number of hops. Handlers that take no context can make no children.
//
// A request or a stream carries its caller's span along as W3C trace context, in the metadata that gotalk.MetaFrom returns:
// traceparent and tracestate. A peer without extensions, as of gotalk 1.x, neither sends nor reads it, so its calls begin new
// traces, as notifications always do: they carry no metadata. The first call to such a peer on a new connection waits a
// tenth of a second for a word on what it understands.
//
// Spans are named after the operation, with the attributes that OpenTelemetry has for remote procedure calls, rpc.system.name
// "gotalk", rpc.method, rpc.response.status_code ("ok" or the code of the error), error.type, network.peer.address, and for
// callers server.address; and besides
//
//	gotalk.kind       "request", "notification" or "stream"
//	gotalk.bytes_in   payload received
//	gotalk.bytes_out  payload sent
//	gotalk.queued_ms  what a request or notification of the peer's waited for its handler; the span contains it
//
// A stream has one span from its beginning to its end, and a call that is tried again has one for all tries. A caller's span
// has failed when the call has, for any reason; the other side's only if it is to blame: not for not_found and the like.
package tracing

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gotalk-go/gotalk"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/gotalk-go/gotalk/tracing"

// Options says where spans go. A nil *Options, or fields that are nil, mean the defaults.
type Options struct {
	// TracerProvider makes the spans. The default is that of otel.GetTracerProvider.
	TracerProvider trace.TracerProvider

	// Propagator puts the caller's span into the metadata and takes it out again. The default is
	// propagation.TraceContext{}. With propagation.Baggage{} beside it, baggage travels too: from whoever calls.
	Propagator propagation.TextMapPropagator
}

type tracer struct {
	trace.Tracer
	propagator propagation.TextMapPropagator
}

// New returns an interceptor for Handlers.Use and Sock.Use. Put it before those that shall find the span in the context, as
// one that logs.
func New(options *Options) gotalk.Interceptor {
	var o Options
	if options != nil {
		o = *options
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.Propagator == nil {
		o.Propagator = propagation.TraceContext{}
	}
	t := &tracer{o.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)), o.Propagator}
	return t.intercept
}

func (t *tracer) intercept(ctx context.Context, info *gotalk.CallInfo, next func(context.Context) error) error {
	ctx, span := t.start(ctx, info)
	err := error(gotalk.NewError(gotalk.CodeInternal, "the handler has ended its goroutine")) // unless it returns
	defer func() { end(span, info, err) }()
	err = next(ctx)
	return err
}

// start starts the span of a call. The returned context carries it, and to the peer too.
func (t *tracer) start(ctx context.Context, info *gotalk.CallInfo) (context.Context, trace.Span) {
	op := text(info.Op)
	attrs := append(make([]attribute.KeyValue, 0, 8),
		semconv.RPCSystemNameKey.String("gotalk"), semconv.RPCMethod(op), attribute.String("gotalk.kind", info.Kind.String()))
	attrs = append(attrs, peer(info)...)
	if info.Served {
		return t.startServed(ctx, info, op, attrs)
	}
	ctx, span := t.Start(ctx, op, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	if info.Kind != gotalk.KindNotification {
		carrier := propagation.MapCarrier{}
		t.propagator.Inject(ctx, carrier)
		if len(carrier) > 0 {
			ctx = gotalk.WithMeta(ctx, carrier)
		}
	}
	return ctx, span
}

func (t *tracer) startServed(ctx context.Context, info *gotalk.CallInfo, op string, attrs []attribute.KeyValue) (context.Context, trace.Span) {
	if info.Kind != gotalk.KindStream { // whose handlers do not wait
		attrs = append(attrs, attribute.Float64("gotalk.queued_ms", float64(time.Since(info.Received))/float64(time.Millisecond)))
	}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(info.Received), trace.WithAttributes(attrs...),
	}
	// The context may have a span already, most likely that of the request that became a WebSocket. It has ended long ago,
	// and the calls of a long connection are not all of one trace.
	if around := trace.SpanContextFromContext(ctx); around.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: around}))
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	ctx = t.propagator.Extract(ctx, propagation.MapCarrier(gotalk.MetaFrom(ctx)))
	return t.Start(ctx, op, options...)
}

// end ends the span of a call whose outcome is err.
func end(span trace.Span, info *gotalk.CallInfo, err error) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	code := gotalk.CodeOf(err)
	status := text(string(code))
	if err == nil {
		status = "ok"
	}
	span.SetAttributes(semconv.RPCResponseStatusCode(status),
		attribute.Int64("gotalk.bytes_in", info.BytesIn), attribute.Int64("gotalk.bytes_out", info.BytesOut))
	if err == nil {
		return
	}
	var p *gotalk.PanicError
	var options []trace.EventOption
	if errors.As(err, &p) {
		options = append(options, trace.WithAttributes(semconv.ExceptionStacktrace(text(string(p.Stack)))))
	}
	span.RecordError(recorded(err), options...)
	if !info.Served || ourFault(code) {
		span.SetAttributes(semconv.ErrorTypeKey.String(status))
		span.SetStatus(codes.Error, text(err.Error()))
	}
}

// ourFault tells whether a code means that the side that serves has failed, and not its caller. For that side's span it is
// what OpenTelemetry says of gRPC's codes; for a caller each is a failure.
func ourFault(code gotalk.Code) bool {
	switch code {
	case gotalk.CodeUnknown, gotalk.CodeDeadlineExceeded, gotalk.CodeUnimplemented, gotalk.CodeInternal,
		gotalk.CodeUnavailable, gotalk.CodeDataLoss:
		return true
	}
	return false
}

// peer returns attributes for the other end's address.
func peer(info *gotalk.CallInfo) (attrs []attribute.KeyValue) {
	addr := text(info.Sock.Addr())
	if addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil { // a Unix socket, or the like
		host = addr
	}
	attrs = append(attrs, semconv.NetworkPeerAddress(host))
	if !info.Served {
		attrs = append(attrs, semconv.ServerAddress(host))
	}
	if n, err := strconv.Atoi(port); err == nil {
		attrs = append(attrs, semconv.NetworkPeerPort(n))
		if !info.Served {
			attrs = append(attrs, semconv.ServerPort(n))
		}
	}
	return attrs
}

// text makes text of what came over the wire and may be any bytes: exporters cannot send those, nor what is beside them.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// recorded returns err as an event can have it.
func recorded(err error) error {
	if s := err.Error(); text(s) != s {
		return errors.New(text(s))
	}
	return err
}
