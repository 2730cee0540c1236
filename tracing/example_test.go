package tracing_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/tracing"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// The span of a call and that of its handler, on the other side, are of one trace. Each side has its own provider as a rule;
// they meet where the spans are sent to.
func Example() {
	spans := tracetest.NewInMemoryExporter() // or one that sends them to a collector
	provider := sdk.NewTracerProvider(sdk.WithSyncer(spans))
	trace := tracing.New(&tracing.Options{TracerProvider: provider})

	h := &gotalk.Handlers{}
	h.Use(trace)
	gotalk.HandleFunc(h, "greet", func(_ context.Context, _ *gotalk.Sock, name string) (string, error) {
		return "Hello " + name, nil
	})
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.Handlers = h
	go server.Accept()

	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	s.Use(trace)
	greeting, err := gotalk.Call[string](context.Background(), s, "greet", "Ada")
	fmt.Println(greeting, err)

	ended := spans.GetSpans()
	handler, call := ended[0], ended[1]
	fmt.Println(handler.SpanKind, "and", call.SpanKind, handler.Name)
	fmt.Println("one trace:", handler.SpanContext.TraceID() == call.SpanContext.TraceID())
	fmt.Println("joined:", handler.Parent.SpanID() == call.SpanContext.SpanID())
	// Output:
	// Hello Ada <nil>
	// server and client greet
	// one trace: true
	// joined: true
}
