package conform_test

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

var requestFaults = []fault{
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
		"calls?-.*|retry-result|extensions-.*|cancel.*|timeout.*|meta.*|goaway.*|closed.*|protocol-error-with.*|" +
			"request-to-stream|split.*",
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
}
