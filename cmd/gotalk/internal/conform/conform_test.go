package conform_test

import (
	"crypto/tls"
	"net"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
	"github.com/stretchr/testify/require"
)

// What is checked is there to be passed: by ours on all transports, with limits too.
func TestOursPasses(t *testing.T) {
	for name, addr := range map[string]func(t *testing.T) string{
		"tcp":       func(t *testing.T) string { return serveTCP(t, handlers(), nil) },
		"websocket": func(t *testing.T) string { return serveWebSocket(t, handlers(), nil) },
		"unix": func(t *testing.T) string {
			l, path := unixListener(t)
			serve(t, l, handlers(), nil)
			return "unix:" + path
		},
		"tls": func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			return "tls://" + serve(t, tls.NewListener(l, certified(t)), handlers(), nil)
		},
		"wss": func(t *testing.T) string {
			s := gotalk.NewWebSocketServer()
			s.Handlers = handlers()
			web := httptest.NewTLSServer(s)
			t.Cleanup(web.Close)
			return strings.Replace(web.URL, "https", "wss", 1) + "/gotalk/"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(addr(t))
			o.Strict, o.Insecure = true, true
			if name != "tcp" && name != "websocket" { // which differ from them in what is below
				o.Run = notCostly()
			}
			r := check(t, o)
			require.Empty(t, ended(r, conform.Failed))
			var skipped []string
			for _, name := range ended(r, conform.Skipped) {
				if name != "retry-result" && !strings.HasPrefix(name, "split") && !strings.HasPrefix(name, "websocket") {
					skipped = append(skipped, name)
				}
			}
			require.Empty(t, skipped)
			for _, result := range r.Results {
				require.Empty(t, result.Warnings, result.Name)
			}
		})
	}
}

// certified makes a configuration with a certificate that nobody trusts.
func certified(t *testing.T) *tls.Config {
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	return &tls.Config{Certificates: s.TLS.Certificates}
}

// A certificate that is not trusted is no conversation to check.
func TestCertificatesMatter(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, err = conform.Run(t.Context(), options("tls://"+serve(t, tls.NewListener(l, certified(t)), handlers(), nil)), nil)
	require.ErrorContains(t, err, "certificate")
}

func notCostly() *regexp.Regexp {
	var names []string
	conform.EachCheck(func(_, name string) {
		if !costly.MatchString(name) {
			names = append(names, name)
		}
	})
	return only(strings.Join(names, "|"))
}

// A peer that refuses what is too much is as good.
func TestOursPassesWithLimits(t *testing.T) {
	for name, serve := range map[string]func(testing.TB, *gotalk.Handlers, *gotalk.Limits) string{
		"tcp": serveTCP, "websocket": serveWebSocket,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits := gotalk.NewLimits(30, 30)
			limits.BufferMinWait, limits.BufferMaxWait = 10*time.Millisecond, 20*time.Millisecond
			limits.MaxPayload = 100_000
			r := check(t, options(serve(t, handlers(), limits)))
			require.Subset(t, []string{"websocket-joined-messages", "requests-after-hello", "websocket-join"}, ended(r, conform.Failed))
			require.Contains(t, ended(r, conform.Skipped), "payload-1mb")
			require.Contains(t, ended(r, conform.Passed), "retry-result")
		})
	}
}

// A peer whose echo takes JSON is checked for all but what takes other bytes.
func TestEchoOfJSON(t *testing.T) {
	t.Parallel()
	h := &gotalk.Handlers{}
	h.Handle("echo", func(in string) (string, error) { return in, nil })
	r := check(t, options(serveTCP(t, h, nil)))
	require.Empty(t, ended(r, conform.Failed))
	require.Subset(t, ended(r, conform.Skipped), []string{"payload-empty", "payload-binary", "stream", "call", "notification"})
	require.Subset(t, ended(r, conform.Passed), []string{
		"request", "in-flight", "one-byte-at-a-time", "payload-utf8", "payload-70000",
	})
}

func TestPrintedReport(t *testing.T) {
	t.Parallel()
	o := options(startProxy(t, serveTCP(t, handlers(), nil), out(when("h", drop))).Addr().String())
	o.Run = only("heartbeat-answered|websocket-close|request")
	var text strings.Builder
	p := &conform.Printer{W: &text}
	r, err := conform.Run(t.Context(), o, p.Print)
	require.NoError(t, err)
	p.Summary(r)
	require.Equal(t, `
requests
  ✓ request T

heartbeats
  ✗ heartbeat-answered T
      The accepting side answers each heartbeat with one of its own. (PROTOCOL.md, section 7)
        > 01
        < 01
        > h00005fee6600
        > r0001004echo0000000c"still here"
        < R00010000000c"still here"
      expected  a heartbeat in answer, h and twelve digits
      came      0, but for the answer to a request
      as gotalk-1.3.7 does: does not answer heartbeats; as gotalk.js-1.2.1 does: does not answer heartbeats

WebSocket
  – websocket-close              skipped: needs a WebSocket

1 passed, 1 failed, 1 skipped
Sections are those of PROTOCOL.md. > is what was sent, < what came; \xHH is a byte.
`, regexp.MustCompile(" +[0-9]+ ms").ReplaceAllString(text.String(), " T"))
}
