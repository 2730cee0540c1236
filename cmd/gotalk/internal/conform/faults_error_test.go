package conform_test

import (
	"bytes"
	"regexp"
)

var errorFaults = []fault{
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
}

// digits makes a size of what is none.
func digits(b []byte) []byte {
	if len(b) == 20 && bytes.HasPrefix(b, []byte("r0001004echo")) && !regexp.MustCompile("[0-9a-f]{8}$").Match(b) {
		return []byte("r0001004none00000000")
	}
	return b
}
