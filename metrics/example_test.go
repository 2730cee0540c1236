package metrics_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A service that counts what it serves, and a look at what Prometheus gets.
func Example() {
	reg := prometheus.NewRegistry()
	m := metrics.New(reg, nil)
	h := &gotalk.Handlers{}
	h.Use(m.Intercept)
	gotalk.HandleFunc(h, "greet", func(_ context.Context, _ *gotalk.Sock, name string) (string, error) {
		if name == "" {
			return "", gotalk.NewError(gotalk.CodeInvalidArgument, "who are you?")
		}
		return "Hello " + name, nil
	})
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.Handlers = h
	reg.MustRegister(metrics.StatsCollector(server.Stats, nil))
	go server.Accept()

	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	logErrors := gotalk.HandlerErrorLogger
	gotalk.HandlerErrorLogger = func(*gotalk.Sock, string, ...any) {}
	defer func() { gotalk.HandlerErrorLogger = logErrors }()
	for _, name := range []string{"Ada", "Grace", ""} {
		gotalk.Call[string](context.Background(), s, "greet", name)
	}

	page := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(page.Body.String()) {
		if strings.HasPrefix(line, "gotalk_calls_total") || strings.HasPrefix(line, "gotalk_connections") {
			fmt.Print(line)
		}
	}
	// Output:
	// gotalk_calls_total{code="invalid_argument",kind="request",op="greet",side="server"} 1
	// gotalk_calls_total{code="ok",kind="request",op="greet",side="server"} 2
	// gotalk_connections 1
}
