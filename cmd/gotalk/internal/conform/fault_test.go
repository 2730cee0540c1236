package conform_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
	"github.com/stretchr/testify/require"
)

// fault is something that a peer gets wrong.
type fault struct {
	name  string
	finds string // regular expression of the checks that must find it
	also  string // of those that may fail too, as it follows; "" is none
	fault func(p *proxy) sides
}

func in(f func(m msg) string) func(*proxy) sides  { return func(*proxy) sides { return sides{in: f} } }
func out(f func(m msg) string) func(*proxy) sides { return func(*proxy) sides { return sides{out: f} } }

// when changes messages of these types.
func when(types string, f func(m msg) string) func(m msg) string {
	return func(m msg) string {
		if m.is(types) {
			return f(m)
		}
		return m.raw
	}
}

func named(name string, f func(m msg) string) func(m msg) string {
	return when("n", func(m msg) string {
		if m.name == name {
			return f(m)
		}
		return m.raw
	})
}

func drop(msg) string    { return "" }
func twice(m msg) string { return m.raw + m.raw }
func end(msg) string     { return hangUp }

const malformedChecks = "size-not-hexadecimal|size-lookalikes|name-size-not-hex|result-size-not-hex"

var faults = []fault{
	{"no version", "version", ".", func(*proxy) sides { return sides{version: func(string) string { return "" }} }},
	{"version with a line end", "version",
		".", func(*proxy) sides { return sides{version: func(v string) string { return v + "\n" }} }},
	{"version 1", "version", ".", func(*proxy) sides { return sides{version: func(string) string { return "1 " }} }},
	{"any version will do", "version-unsupported", "version-garbage", func(*proxy) sides {
		return sides{inVersion: func(v string) string {
			if v == "02" {
				return "01"
			}
			return v
		}}
	}},
	{"result with the id in another order", "request|request-ids", ".", out(when("R", func(m msg) string {
		m.id = m.id[3:] + m.id[:3]
		return m.bytes()
	}))},
	{"ids are strings that end with NUL", "request-ids", "stream-ids|call-.*", out(when("RES", func(m msg) string {
		m.id = (strings.SplitN(m.id, "\x00", 2)[0] + "\x00\x00\x00\x00")[:4]
		return m.bytes()
	}))},
	{"ids are UTF-8", "request-ids", "stream-ids", out(when("RES", func(m msg) string {
		m.id = (strings.ToValidUTF8(m.id, "?") + "????")[:4]
		return m.bytes()
	}))},
	{"result twice", "request", ".", out(when("R", twice))},
	{"error result twice", "operation-unknown|error-result", ".", out(when("E", twice))},
	{"a result and then an error", "request", ".", out(when("R", func(m msg) string {
		return m.raw + "E" + m.id + "00000000"
	}))},
	{"no answer to an empty payload", "payload-empty", "websocket.*", out(when("R", func(m msg) string {
		if m.payload == "" {
			return ""
		}
		return m.raw
	}))},
	{"digits in upper case", "lower-case", "", out(when("RES", func(m msg) string {
		return m.raw[:5] + strings.ToUpper(m.raw[5:13]) + m.raw[13:]
	}))},
	{"cannot read digits in upper case", "upper-case|call-upper-case",
		"credit-of-nothing", in(when("rsnRES", func(m msg) string {
			if m.raw[:len(m.raw)-len(m.payload)] != m.bytes()[:len(m.raw)-len(m.payload)] {
				return hangUp
			}
			return m.raw
		}))},
	{"sizes with blanks", "request", ".", out(when("R", func(m msg) string {
		return m.raw[:5] + fmt.Sprintf("%8x", len(m.payload)) + m.payload
	}))},
	{"decimal sizes", "request|payload-sizes", ".", out(when("R", func(m msg) string {
		return m.raw[:5] + fmt.Sprintf("%08d", len(m.payload)) + m.payload
	}))},
	{"sizes in characters", "payload-utf8",
		"payload-binary|operation-unknown|error.*|name-.*|stream-.*", out(when("RES", func(m msg) string {
			return m.raw[:5] + fmt.Sprintf("%08x", utf8.RuneCountInString(m.payload)) + m.payload
		}))},
	{"payloads are text", "payload-binary", "stream-both-ways", out(when("RS", func(m msg) string {
		m.payload = strings.ToValidUTF8(m.payload, "\ufffd")
		return m.bytes()
	}))},
	{"payloads end at NUL", "payload-binary", "stream-both-ways", out(when("RS", func(m msg) string {
		if empty := m.payload == ""; !empty {
			m.payload = strings.SplitN(m.payload, "\x00", 2)[0]
		}
		return m.bytes()
	}))},
	{"16 bits for sizes", "payload-70000",
		"payload-sizes|payload-1mb|call-large|.*large.*|hello-empty|stream-not-read|split.*", out(when("RS", func(m msg) string {
			m.payload = m.payload[:len(m.payload)&0xffff]
			return m.bytes()
		}))},
	{"names of 255 bytes", "name-4095", "", in(when("r", func(m msg) string {
		if len(m.name) > 255 {
			return hangUp
		}
		return m.raw
	}))},
	{"no empty names", "name-empty|notification-empty-name", "", in(when("rn", func(m msg) string {
		if m.name == "" {
			return hangUp
		}
		return m.raw
	}))},
	{"no answer to unknown operations", "operation-unknown",
		"request-to-stream|name-.*|upper-case|hello-.*|errors?-.*|stream.*|websocket.*", out(when("E", func(m msg) string {
			if strings.Contains(m.payload, "unknown operation") {
				return ""
			}
			return m.raw
		}))},
	{"an unknown operation ends the connection", "operation-unknown",
		"request-to-stream|name-.*|upper-case|hello-.*|errors?-.*|stream.*", out(when("E", func(m msg) string {
			if strings.Contains(m.payload, "unknown operation") {
				return hangUp
			}
			return m.raw
		}))},
	{"an unknown operation has an empty result", "operation-unknown",
		"name-.*|upper-case|hello-.*|errors?-.*|stream.*|request-to-stream", out(when("E", func(m msg) string {
			if strings.Contains(m.payload, "unknown operation") {
				return "R" + m.id + "00000000"
			}
			return m.raw
		}))},
	{"errors are single results", "error-result|operation-unknown",
		".", out(when("E", func(m msg) string { return "R" + m.raw[1:] }))},
	{"an unknown notification is answered", "notification-unknown",
		"notification-empty-name|reserved-names.*|extensions-before-hello", func(*proxy) sides {
			return sides{back: when("n", func(m msg) string {
				if strings.HasPrefix(m.name, "gotalk:") || m.name == "ping" {
					return ""
				}
				return "E\x00\x00\x00\x0000000000"
			})}
		}},
	{"an unknown notification ends the connection", "notification-unknown",
		"notification-empty-name", in(when("n", func(m msg) string {
			if !strings.HasPrefix(m.name, "gotalk:") && m.name != "ping" {
				return hangUp
			}
			return m.raw
		}))},
	{"notifications overtake each other", "notification-order", "", func(*proxy) sides {
		held := ""
		return sides{out: named("pong", func(m msg) string {
			if len(m.payload) == 15 {
				held = m.raw
				return ""
			}
			defer func() { held = "" }()
			return m.raw + held
		})}
	}},
	{"notifications come twice", "notification", "notification-order", in(named("ping", twice))},
	{"one request at a time", "slow-request|call-meanwhile",
		"calls?-.*|retry-result|extensions-.*|cancel.*|timeout.*|meta.*|goaway.*|closed.*|protocol-error-with.*|request-to-stream",
		func(*proxy) sides {
			gate := make(chan struct{}, 1)
			return sides{in: when("r", func(m msg) string {
				select {
				case gate <- struct{}{}:
				case <-time.After(5 * time.Second):
					return hangUp
				}
				return m.raw
			}), out: when("REe", func(m msg) string {
				select {
				case <-gate:
				default:
				}
				return m.raw
			})}
		}},
	{"ids are those of the process", "two-connections", ".", func(p *proxy) sides {
		return sides{in: when("r", func(m msg) string {
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.conns) > 0 && m.id == "same" && len(m.payload) == 9 {
				return hangUp
			}
			return m.raw
		})}
	}},
	{"drops requests when many come", "in-flight", "", func(*proxy) sides {
		n := 0
		return sides{in: when("r", func(m msg) string {
			if n++; n > 200 && m.name == "echo" {
				return ""
			}
			return m.raw
		})}
	}},
	{"mixes results up", "in-flight|pipelined",
		"requests-after-hello|websocket.*|goaway.*|calls-at-once", func(*proxy) sides {
			held := ""
			return sides{out: when("R", func(m msg) string {
				if m.id[0] != 'm' {
					return m.raw
				}
				if held == "" {
					held = m.id
					return ""
				}
				a, b := m, m
				b.id, held = held, ""
				b.payload = m.payload
				return a.bytes() + b.bytes()
			})}
		}},
	{"a read is a message", "one-byte-at-a-time|cut-anywhere|pipelined", ".", func(*proxy) sides {
		first := true
		return sides{chunk: func(b []byte) []byte {
			if first {
				first = false
				return b[:min(2, len(b))]
			}
			m, err := readMsg(strings.NewReader(string(b)))
			if err != nil {
				return []byte("x000000000000")
			}
			return b[:len(m.bytes())]
		}}
	}},
	{"what comes behind the version is lost", "version-pipelined", ".", func(*proxy) sides {
		first := true
		return sides{chunk: func(b []byte) []byte {
			if first {
				first = false
				return b[:min(2, len(b))]
			}
			return b
		}}
	}},
	{"unknown results end the connection", "results-nobody-waits-for|call-twice-answered|call-unknown-ids",
		"call-stream-result|size-claimed", func(*proxy) sides {
			var mu sync.Mutex
			open := map[string]bool{}
			return sides{in: when("RESe", func(m msg) string {
				mu.Lock()
				defer mu.Unlock()
				if !open[m.id] {
					return hangUp
				}
				delete(open, m.id)
				return m.raw
			}), out: when("r", func(m msg) string {
				mu.Lock()
				defer mu.Unlock()
				open[m.id] = true
				return m.raw
			})}
		}},
	{"any result is taken for the call's", "call-unknown-ids", "call-ids|calls-at-once", func(*proxy) sides {
		var mu sync.Mutex
		last := ""
		return sides{in: when("R", func(m msg) string {
			mu.Lock()
			defer mu.Unlock()
			if last != "" {
				m.id = last
			}
			return m.bytes()
		}), out: when("r", func(m msg) string {
			mu.Lock()
			defer mu.Unlock()
			last = m.id
			return m.raw
		})}
	}},
	{"calls have the same id", "calls-at-once", "goaway-with-calls|call-unknown-ids", func(*proxy) sides {
		var mu sync.Mutex
		var ids []string
		return sides{out: when("r", func(m msg) string {
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, m.id)
			m.id = "same"
			return m.bytes()
		}), in: when("RESe", func(m msg) string {
			mu.Lock()
			defer mu.Unlock()
			if m.id == "same" && len(ids) > 0 {
				m.id = ids[0]
				ids = ids[1:]
			}
			return m.bytes()
		})}
	}},
	{"calls again at once", "call-retry", "", func(*proxy) sides {
		return sides{in: when("e", drop), back: when("e", func(m msg) string {
			if m.id == "????" {
				return ""
			}
			return "r" + m.id + `006answer00000007"hello"`
		})}
	}},
	{"e ends the connection", "call-retry", "results-nobody-waits-for", in(when("e", end))},
	{"an error result is a result", "call-error", "", in(when("E", func(m msg) string { return "R" + m.raw[1:] }))},
	{"a part is the result", "call-stream-result", "split-call", func(*proxy) sides {
		return sides{in: when("S", func(m msg) string { return "R" + m.raw[1:] })}
	}},
	{"streams do not end", "stream", "stream.*|credit.*|hello-.*", out(when("S", func(m msg) string {
		if m.payload == "" {
			return ""
		}
		return m.raw
	}))},
	{"streams end twice", "stream",
		"stream.*|credit.*|hello-.*|split.*|cancel-stream|request-to-stream", out(when("S", func(m msg) string {
			if m.payload == "" {
				return m.raw + m.raw
			}
			return m.raw
		}))},
	{"streams end with R", "stream", "stream.*|credit.*|hello-.*", out(when("S", func(m msg) string {
		if m.payload == "" {
			return "R" + m.raw[1:]
		}
		return m.raw
	}))},
	{"a stream is handled when all of it is there", "stream-both-ways",
		"stream-.*|credit.*|cancel-stream", func(*proxy) sides {
			var mu sync.Mutex
			held := map[string]string{}
			return sides{in: when("sp", func(m msg) string {
				mu.Lock()
				defer mu.Unlock()
				all, open := held[m.id]
				switch {
				case m.is("s") && strings.HasPrefix(m.name, "conform"):
					return m.raw
				case m.is("s"):
					held[m.id] = m.raw
				case !open:
					return m.raw
				case m.payload != "":
					held[m.id] = all + m.raw
				default:
					delete(held, m.id)
					return all + m.raw
				}
				return ""
			})}
		}},
	{"an empty first part is the end", "stream-empty-first-part", "", func(*proxy) sides {
		return sides{in: when("s", func(m msg) string {
			if m.payload == "" && m.name == "stream" {
				return m.raw + "p" + m.id + "00000000"
			}
			return m.raw
		})}
	}},
	{"parts get lost", "stream", "stream.*|credit.*", in(when("p", func(m msg) string {
		if m.payload != "" && len(m.payload) != 5 {
			return m.raw
		}
		if m.payload == "" {
			return m.raw
		}
		return ""
	}))},
	{"a late part is answered", "stream-refused",
		"stream-.*|cancel-stream|credit-overrun", lateParts(func(id string) string { return "E" + id + "00000004late" })},
	{"a late part ends the connection", "stream-refused",
		"stream-.*|cancel-stream|credit-overrun", lateParts(func(string) string { return "f00000002" })},
	{"a stream of an unknown operation is left alone", "stream-refused",
		"stream-refused.*|stream-to-request|request-to-stream|split.*", func(*proxy) sides {
			return sides{in: when("s", func(m msg) string {
				if m.name != "stream" {
					return ""
				}
				return m.raw
			})}
		}},
	{"parts of no stream are dropped", "part-of-no-stream", "", func(*proxy) sides {
		known := map[string]bool{}
		return sides{in: when("sp", func(m msg) string {
			if m.is("s") {
				known[m.id] = true
			} else if !known[m.id] {
				return ""
			}
			return m.raw
		})}
	}},
	{"a stream's id twice is the same stream", "stream-id-in-use", "stream-id-again", func(*proxy) sides {
		known := map[string]bool{}
		return sides{in: when("s", func(m msg) string {
			if known[m.id] {
				return ""
			}
			known[m.id] = true
			return m.raw
		})}
	}},
	{"closes without a protocol error", "type-unknown|version-unsupported|" + malformedChecks,
		".*malformed|version-garbage|part-of-no-stream|stream-id-in-use", out(when("f", drop))},
	{"stays open after a protocol error", "type-unknown|version-unsupported|" + malformedChecks,
		".*malformed|version-garbage|part-of-no-stream|stream-id-in-use|goaway.*|protocol-error.*",
		func(*proxy) sides { return sides{open: true} }},
	{"the wrong protocol error", "type-unknown|" + malformedChecks,
		".*malformed|version-.*|part-of-no-stream|stream-id-in-use", out(when("f", func(msg) string { return "f00000000" }))},
	{"messages behind a protocol error", "type-unknown|" + malformedChecks,
		".*malformed|version-.*|part-of-no-stream|stream-id-in-use",
		out(when("f", func(m msg) string { return m.raw + "h000000000000" + m.raw }))},
	{"an unknown type is passed over", "type-unknown", "", func(*proxy) sides {
		return sides{in: func(m msg) string {
			if !m.is("rspRSEenhf") {
				return ""
			}
			return m.raw
		}}
	}},
	{"digits are read as far as they go", "size-not-hexadecimal|size-lookalikes", "errors-of-others", func(*proxy) sides {
		return sides{chunk: func(b []byte) []byte {
			if v := []byte("01r"); bytes.HasPrefix(b, v) { // both have come at once
				return append(b[:2:2], digits(b[2:])...)
			}
			return digits(b)
		}}
	}},
	{"takes no notice of protocol errors", "protocol-error-taken", "protocol-error.*", in(when("f", drop))},
	{"reads 13 bytes of a protocol error", "protocol-error-taken", "", func(*proxy) sides {
		return sides{in: func(m msg) string { return m.raw }, chunk: func(b []byte) []byte {
			if len(b) == 9 && b[0] == 'f' {
				return nil
			}
			return b
		}}
	}},
	{"dies of garbage", "version-garbage", ".", func(p *proxy) sides {
		return sides{inVersion: func(v string) string {
			if v == "r0" {
				p.die()
			}
			return v
		}}
	}},
	{"an error of one ends all", "errors-of-others",
		".*-malformed|type-unknown|half-messages|size-.*", func(p *proxy) sides {
			return sides{in: func(m msg) string {
				if !m.is("rspRSEenhf") {
					p.mu.Lock()
					defer p.mu.Unlock()
					for _, nc := range p.conns {
						nc.Close()
					}
					p.conns = nil
				}
				return m.raw
			}}
		}},
	{"heartbeats are not answered", "heartbeat-answered", "", out(when("h", drop))},
	{"heartbeats are answered twice", "heartbeat-answered", "", out(when("h", twice))},
	{"heartbeats end the connection", "heartbeat-accepted",
		"heartbeat.*|lower-case|hello-not-unasked|websocket-messages", in(when("h", end))},
	{"heartbeats are short", "heartbeat-answered",
		"heartbeat.*|lower-case|hello-not-unasked|.*malformed|result-size.*",
		out(when("h", func(m msg) string { return m.raw[:9] }))},
	{"serves one connection at a time", "two-connections|many-connections", ".", func(p *proxy) sides {
		p.mu.Lock()
		first := len(p.conns) == 2
		p.mu.Unlock()
		if first {
			return sides{}
		}
		return sides{version: func(string) string { return hangUp }}
	}},
	{"hello unasked", "hello-not-unasked", "", func(*proxy) sides {
		return sides{version: func(v string) string { return v + "n00cgotalk:hello00000002{}" }, out: named("gotalk:hello", drop)}
	}},
	{"hello twice", "hello", "", out(named("gotalk:hello", twice))},
	{"hello that is no JSON", "hello",
		".*malformed", out(named("gotalk:hello", func(m msg) string { m.payload = "cancel,error"; return m.bytes() }))},
	{"hello with a window that is no number", "hello", "credit.*", out(named("gotalk:hello", func(m msg) string {
		m.payload = strings.Replace(m.payload, `"credit":262144`, `"credit":"262144"`, 1)
		return m.bytes()
	}))},
	{"acts on extensions before hello", "extensions-before-hello|errors-plain-before-hello", ".", func(*proxy) sides {
		const said = `n00cgotalk:hello0000001f{"cancel":1,"error":1,"meta":1}`
		return sides{inVersion: func(v string) string {
			if v == "01" {
				return v + said
			}
			return v
		}}
	}},
	{"error objects for all", "errors-plain-before-hello|hello-empty", "", out(when("E", func(m msg) string {
		if !strings.HasPrefix(m.payload, "{") {
			text, _ := json.Marshal(m.payload)
			m.payload = `{"code":"unknown","message":` + string(text) + `}`
		}
		return m.bytes()
	}))},
	{"error objects without a message", "error-code", "", out(when("E", func(m msg) string {
		m.payload = strings.Replace(m.payload, `"message"`, `"text"`, 1)
		return m.bytes()
	}))},
	{"ends the connection on reserved names", "reserved-names-dropped",
		"reserved-names.*|hello-unknown-keys", in(when("n", func(m msg) string {
			if m.name == "gotalk:future" || strings.Contains(m.name, "invented") {
				return hangUp
			}
			return m.raw
		}))},
	{"reserved names reach handlers", "reserved-names-dropped",
		"reserved-names.*", in(named("gotalk:ping", func(m msg) string { m.name = "ping"; return m.bytes() }))},
	{"malformed hello is passed over", "hello-malformed", "", in(named("gotalk:hello", func(m msg) string {
		if !json.Valid([]byte(m.payload)) {
			return ""
		}
		return m.raw
	}))},
	{"cancel is not acted on", "cancel", "cancel-.*|split.*", in(named("gotalk:cancel", drop))},
	{"cancel is not answered", "cancel", "cancel-.*|split.*|timeout", out(when("E", func(m msg) string {
		if strings.Contains(m.payload, "context canceled") {
			return ""
		}
		return m.raw
	}))},
	{"cancel is answered twice", "cancel", "cancel-.*|split.*", out(when("E", func(m msg) string {
		if strings.Contains(m.payload, "context canceled") {
			return m.raw + m.raw
		}
		return m.raw
	}))},
	{"cancel cancels all", "cancel-one-of-many", "", func(*proxy) sides {
		var waiting []msg
		return sides{in: when("rn", func(m msg) string {
			if m.name == "wait" {
				waiting = append(waiting, m)
			}
			if m.name != "gotalk:cancel" {
				return m.raw
			}
			all := m.raw
			for _, w := range waiting {
				if w.id != m.payload {
					m.payload = w.id
					all += m.bytes()
				}
			}
			return all
		})}
	}},
	{"timeouts are not acted on", "timeout", "meta-malformed", in(named("gotalk:meta", drop))},
	{"timeouts are in seconds", "timeout", "", in(named("gotalk:meta", func(m msg) string {
		return strings.Replace(m.raw, `0000001680`, "", 1)[:0] + strings.Replace(m.raw, `":80}`, `":8 }`, 1)
	}))},
	{"meta is for whatever comes next", "meta-of-another-request", "", in(named("gotalk:meta", func(m msg) string {
		if strings.HasSuffix(m.payload, ":20}") {
			m.payload = "0002" + m.payload[4:]
		}
		return m.bytes()
	}))},
	{"goes on when the window is used up", "credit-window", "credit.*", in(named("gotalk:hello", func(m msg) string {
		m.payload = strings.Replace(m.payload, `"credit":1000,`, `"credit":1000000,`, 1)
		return m.bytes()
	}))},
	{"gives no credit", "credit-granted", "", out(named("gotalk:credit", drop))},
	{"takes no credit", "credit-window", "credit.*", in(named("gotalk:credit", drop))},
	{"takes more than its window", "credit-overrun", "", out(named("gotalk:hello", func(m msg) string {
		m.payload = strings.Replace(m.payload, `"credit":262144`, `"credit":4096`, 1)
		return m.bytes()
	}))},
	{"an empty S behind E after hello", "stream-refused-after-hello",
		"error-code|hello.*|credit-overrun", func(*proxy) sides {
			said := false
			return sides{out: when("nE", func(m msg) string {
				said = said || m.name == "gotalk:hello"
				if said && m.is("E") && m.id == "none" {
					return m.raw + "S" + m.id + "00000000"
				}
				return m.raw
			})}
		}},
	{"goaway is not acted on", "goaway", "goaway-.*", in(named("gotalk:goaway", drop))},
	{"goaway ends the connection at once", "goaway-with-requests|goaway-with-calls",
		"extensions-before-hello|goaway-malformed", in(named("gotalk:goaway", end))},
}

// digits makes a size of what is none.
func digits(b []byte) []byte {
	if len(b) == 20 && bytes.HasPrefix(b, []byte("r0001004echo")) && !regexp.MustCompile("[0-9a-f]{8}$").Match(b) {
		return []byte("r0001004none00000000")
	}
	return b
}

// lateParts has parts of streams that were refused answered.
func lateParts(answer func(id string) string) func(*proxy) sides {
	return func(*proxy) sides {
		var mu sync.Mutex
		refused := map[string]bool{}
		return sides{back: when("p", func(m msg) string {
			mu.Lock()
			defer mu.Unlock()
			if !refused[m.id] {
				return ""
			}
			return answer(m.id)
		}), out: when("E", func(m msg) string {
			mu.Lock()
			defer mu.Unlock()
			refused[m.id] = true
			return m.raw
		})}
	}
}

// Where a fault is not theirs costly checks are left out, and each time three of four of the others.
var costly = regexp.MustCompile("^(payload-1mb|stream-not-read|results-not-read|idle|credit-granted|" +
	"credit-overrun|stream-large|stream-refused-after-hello|in-flight|hello-empty)$")

func only(pattern string) *regexp.Regexp { return regexp.MustCompile("^(" + pattern + ")$") }

func TestFaultsAreFound(t *testing.T) {
	whole := check(t, options(serveTCP(t, handlers(), nil)))
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			finds := only(f.finds)
			var run []string
			for j, r := range whole.Results {
				another := f.also != "." && r.Group != "WebSocket" && !costly.MatchString(r.Name) && (i+j)%4 == 0
				if finds.MatchString(r.Name) || another {
					run = append(run, r.Name)
				}
			}
			o := options(startProxy(t, serveTCP(t, handlers(), nil), f.fault).Addr().String())
			o.Run, o.Timeout, o.Quiet = only(strings.Join(run, "|")), time.Second, 5*time.Millisecond
			requireFinds(t, o, f)
		})
	}
}

// requireFinds checks that the fault is found by the checks that are for it, and by no others but those that it follows from.
func requireFinds(t *testing.T, o conform.Options, f fault) {
	failed := ended(check(t, o), conform.Failed)
	for name := range strings.SplitSeq(f.finds, "|") {
		require.Contains(t, failed, name)
	}
	if f.also == "." {
		return
	}
	expected := only(f.finds + "|" + f.also)
	failed = slices.DeleteFunc(failed, expected.MatchString)
	if len(failed) > 0 { // perhaps as this machine is busy
		o.Run, o.Timeout = only(strings.Join(failed, "|")), 20*time.Second
		require.Empty(t, ended(check(t, o), conform.Failed), "of which nothing is wrong")
	}
}
