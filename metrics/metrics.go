// Package metrics tells Prometheus what a program calls and serves with gotalk.
//
//	m := metrics.New(prometheus.DefaultRegisterer, nil)
//	gotalk.DefaultHandlers.Use(m.Intercept) // what peers call
//	sock.Use(m.Intercept)                   // what this side calls on that connection
//
//	server, err := gotalk.Listen("tcp", ":1234")
//	prometheus.MustRegister(metrics.StatsCollector(server.Stats, prometheus.Labels{"server": "tcp"}))
//
// # Calls
//
// Intercept counts each request, notification and stream:
//
//	gotalk_calls_total{side,kind,op,code}            those that are over
//	gotalk_call_duration_seconds{side,kind,op,code}  histogram of what they took; of a stream, from its beginning to its end
//	gotalk_calls_in_flight{side,kind,op}             those that are not over
//	gotalk_call_in_bytes_total{side,kind,op}         payload received, counted when a call is over
//	gotalk_call_out_bytes_total{side,kind,op}        payload sent
//	gotalk_call_queue_seconds{kind,op}               histogram of what requests and notifications of peers waited for
//	                                                 their handlers; the duration does not contain it
//
// side is "server" for calls of peers and "client" for those of this side, kind is "request", "notification" or "stream",
// and code is "ok", one of gotalk's codes, or "other". A call of this side is one call, however often it is tried.
//
// # Names of operations
//
// Each op makes some forty series, and its name is chosen by the peer if there is a fallback handler, which gets whatever
// has no handler of its own. So no more than Options.MaxOps names become values of op, first come, first served, and all
// further ones are "other". To a program with a fallback handler strangers could come first: it says in Options.Ops which names
// count. What has no handler at all does not reach interceptors, and is not counted.
//
// # Connections
//
// StatsCollector tells at each scrape what is under way on all connections of a server, or on a Sock:
//
//	gotalk_connections                  open connections
//	gotalk_requests_running             requests of peers whose handlers are at work
//	gotalk_requests_waiting             requests of peers that wait for their turn
//	gotalk_request_oldest_wait_seconds  how long the one that waits longest has
//	gotalk_streams_served               streams of peers whose handlers are at work
//	gotalk_calls_pending                requests and streams of this side without a complete result
//	gotalk_pending_bytes                received and not yet handled
//	gotalk_unsent_bytes                 waiting to be written, or being written
package metrics

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/prometheus/client_golang/prometheus"
)

// Options says how calls are counted. A nil *Options, or fields that are not set, mean the defaults.
type Options struct {
	// Buckets are the upper bounds, in seconds, of both histograms. The default is from 100 µs to 30 s.
	Buckets []float64

	// Ops are the names that become values of the label op, instead of the first MaxOps that occur.
	Ops []string

	// MaxOps is how many names there may be, of calls of peers and again of calls of this side. The default is 200.
	MaxOps int
}

var defaultBuckets = []float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30,
}

const (
	defaultMaxOps = 200
	other         = "other" // what names, and codes, that are too many have in common
)

// Metrics counts calls; see the package's description. Its method may be called concurrently.
type Metrics struct {
	served, made *names // of operations

	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	in, out  *prometheus.CounterVec
	queue    *prometheus.HistogramVec
}

// New returns a Metrics whose series are registered with reg, or with prometheus.DefaultRegisterer if reg is nil. One is
// enough for a program, and a second one with the same reg panics; prometheus.WrapRegistererWith makes a reg that tells
// them apart.
func New(reg prometheus.Registerer, options *Options) *Metrics {
	var o Options
	if options != nil {
		o = *options
	}
	if o.MaxOps <= 0 {
		o.MaxOps = defaultMaxOps
	}
	if len(o.Buckets) == 0 {
		o.Buckets = defaultBuckets
	}
	if reg == nil {
		reg = prometheus.DefaultRegisterer
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: o.Buckets}, labels)
	}
	m := &Metrics{
		served: newNames(o), made: newNames(o),
		total:    counter("gotalk_calls_total", "Calls that are over.", "side", "kind", "op", "code"),
		duration: histogram("gotalk_call_duration_seconds", "What calls took.", "side", "kind", "op", "code"),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gotalk_calls_in_flight", Help: "Calls that are not over."},
			[]string{"side", "kind", "op"}),
		in:    counter("gotalk_call_in_bytes_total", "Payload received.", "side", "kind", "op"),
		out:   counter("gotalk_call_out_bytes_total", "Payload sent.", "side", "kind", "op"),
		queue: histogram("gotalk_call_queue_seconds", "What calls of peers waited for their handlers.", "kind", "op"),
	}
	reg.MustRegister(m.total, m.duration, m.inFlight, m.in, m.out, m.queue)
	return m
}

// Intercept is a gotalk.Interceptor, for Handlers.Use and Sock.Use.
func (m *Metrics) Intercept(ctx context.Context, info *gotalk.CallInfo, next func(context.Context) error) error {
	start := time.Now()
	side, names := "client", m.made
	if info.Served {
		side, names = "server", m.served
	}
	kind, op := info.Kind.String(), names.label(info.Op)
	if info.Served && info.Kind != gotalk.KindStream { // whose handlers do not wait
		m.queue.WithLabelValues(kind, op).Observe(start.Sub(info.Received).Seconds())
	}
	inFlight := m.inFlight.WithLabelValues(side, kind, op)
	inFlight.Inc()
	outcome := string(gotalk.CodeInternal) // if the handler ends its goroutine
	defer func() {
		inFlight.Dec()
		m.total.WithLabelValues(side, kind, op, outcome).Inc()
		m.duration.WithLabelValues(side, kind, op, outcome).Observe(time.Since(start).Seconds())
		m.in.WithLabelValues(side, kind, op).Add(float64(info.BytesIn))
		m.out.WithLabelValues(side, kind, op).Add(float64(info.BytesOut))
	}()
	err := next(ctx)
	outcome = codeLabel(err)
	return err
}

// codeLabel returns "ok", a well-known code or "other": peers can make up codes.
func codeLabel(err error) string {
	switch code := gotalk.CodeOf(err); code {
	case "":
		return "ok"
	case gotalk.CodeCanceled, gotalk.CodeUnknown, gotalk.CodeInvalidArgument, gotalk.CodeDeadlineExceeded,
		gotalk.CodeNotFound, gotalk.CodeAlreadyExists, gotalk.CodePermissionDenied, gotalk.CodeResourceExhausted,
		gotalk.CodeFailedPrecondition, gotalk.CodeAborted, gotalk.CodeOutOfRange, gotalk.CodeUnimplemented,
		gotalk.CodeInternal, gotalk.CodeUnavailable, gotalk.CodeDataLoss, gotalk.CodeUnauthenticated:
		return string(code)
	}
	return other
}

// names bounds how many operations there are series for.
type names struct {
	mu    sync.RWMutex
	known map[string]string // the label of each
	room  int               // for how many more
}

func newNames(o Options) *names {
	n := &names{known: map[string]string{}, room: o.MaxOps}
	for _, op := range o.Ops {
		n.known[op] = labelOf(op)
		n.room = 0
	}
	return n
}

// labelOf returns op as a label: any bytes may be a name, but a label is text.
func labelOf(op string) string { return strings.ToValidUTF8(op, "\uFFFD") }

func (n *names) label(op string) string {
	n.mu.RLock()
	label, ok := n.known[op]
	full := n.room == 0
	n.mu.RUnlock()
	switch {
	case ok:
		return label
	case full:
		return other
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if label, ok := n.known[op]; ok {
		return label
	}
	if n.room == 0 {
		return other
	}
	n.room--
	n.known[op] = labelOf(op)
	return n.known[op]
}
