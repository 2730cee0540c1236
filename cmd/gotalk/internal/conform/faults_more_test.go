package conform_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
	"github.com/stretchr/testify/require"
)

var moreFaults = []fault{
	{"the version comes twice", "version", ".", func(*proxy) sides {
		return sides{version: func(v string) string { return v + v }}
	}},
	{"sizes count the header too", "request", ".", out(when("RES", func(m msg) string {
		return m.raw[:5] + fmt.Sprintf("%08x", len(m.raw)) + m.payload
	}))},
	{"sizes are one too small", "request", ".", out(when("RE", func(m msg) string {
		return m.raw[:5] + fmt.Sprintf("%08x", max(0, len(m.payload)-1)) + m.payload
	}))},
	{"an empty payload has no size", "payload-empty", ".", out(when("R", func(m msg) string {
		if m.payload == "" {
			return m.raw[:5]
		}
		return m.raw
	}))},
	{"payloads end in a line end", "request", ".", out(when("R", func(m msg) string {
		m.payload += "\n"
		return m.bytes()
	}))},
	{"line ends between messages", "request", ".", out(when("RE", func(m msg) string { return m.raw + "\n" }))},
	{"payloads are trimmed", "payload-binary", "", out(when("R", func(m msg) string {
		m.payload = strings.TrimSpace(m.payload)
		return m.bytes()
	}))},
	{"other line ends", "payload-binary", "", out(when("R", func(m msg) string {
		m.payload = strings.ReplaceAll(m.payload, "\r\n", "\n")
		return m.bytes()
	}))},
	{"payloads of 4 KiB", "payload-sizes",
		".*large.*|payload-.*|in-flight|pipelined|requests-after-hello", out(when("R", func(m msg) string {
			m.payload = m.payload[:min(4096, len(m.payload))]
			return m.bytes()
		}))},
	{"large payloads end the connection", "payload-70000",
		"payload-1mb|operation-unknown|notification-unknown|call-large|.*large.*|results-not-read|hello-empty|split.*",
		in(when("r", func(m msg) string {
			if len(m.payload) > 1<<16 {
				return hangUp
			}
			return m.raw
		}))},
	{"ids are numbers", "request-ids", ".", out(when("RES", func(m msg) string {
		n, _ := strconv.ParseUint(m.id, 16, 16)
		m.id = fmt.Sprintf("%04x", n)
		return m.bytes()
	}))},
	{"ids in lower case", "request-ids", "stream-ids", out(when("RES", func(m msg) string {
		m.id = strings.Map(func(r rune) rune { // of ASCII alone
			if r >= 'A' && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}, strings.ToValidUTF8(m.id, ""))
		m.id = (m.id + "\x00\x00\x00\x00")[:4]
		return m.bytes()
	}))},
	{"the sizes of names are in characters", "name-utf8|error-characters-as-bytes",
		"notification-unknown", in(when("rn", func(m msg) string {
			if n := len([]rune(m.name)); n != len(m.name) {
				m.name = m.name[:n]
				return m.bytes() + "zzzz"
			}
			return m.raw
		}))},
	{"payloads of unknown operations stay in the input", "operation-unknown", ".", in(when("r", func(m msg) string {
		if strings.HasPrefix(m.name, "conform/") {
			payload := m.payload
			m.payload = ""
			return m.bytes() + payload
		}
		return m.raw
	}))},
	{"payloads of unknown notifications stay in the input", "notification-unknown", ".", in(when("n", func(m msg) string {
		if strings.HasPrefix(m.name, "conform/") {
			payload := m.payload
			m.payload = ""
			return m.bytes() + payload
		}
		return m.raw
	}))},
	{"hangs up after an answer", "request", ".", func(*proxy) sides {
		answered := false
		return sides{out: func(m msg) string {
			if answered {
				return hangUp
			}
			answered = m.is("RE")
			return m.raw
		}}
	}},
	{"is deaf after an error", "error-result|operation-unknown", ".", func(*proxy) sides {
		failed := false
		return sides{out: func(m msg) string {
			if failed {
				return ""
			}
			failed = m.is("E")
			return m.raw
		}}
	}},
	{"an answer comes with the next message", "request", ".", func(*proxy) sides {
		held := ""
		return sides{out: func(m msg) string {
			defer func() { held = m.raw }()
			return held
		}}
	}},
	{"an error and then a result", "operation-unknown|error-result", ".", out(when("E", func(m msg) string {
		return m.raw + "R" + m.id + "00000000"
	}))},
	{"errors without a size", "operation-unknown", ".", out(when("E", func(m msg) string {
		return m.raw[:5] + m.payload + "\n"
	}))},
	{"results in the order of requests", "slow-request|call-meanwhile",
		"calls?-.*|retry-result|extensions-.*|cancel.*|timeout.*|meta.*|goaway.*|closed.*|protocol-error-with.*|" +
			"request-to-stream|split.*",
		func(*proxy) sides {
			var mu sync.Mutex
			var order []string
			answers := map[string]string{}
			return sides{in: when("r", func(m msg) string {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, m.id)
				return m.raw
			}), out: when("REe", func(m msg) string {
				mu.Lock()
				defer mu.Unlock()
				if !slices.Contains(order, m.id) {
					return m.raw
				}
				answers[m.id] += m.raw
				all := ""
				for len(order) > 0 && answers[order[0]] != "" {
					all += answers[order[0]]
					delete(answers, order[0])
					order = order[1:]
				}
				return all
			})}
		}},
	{"results go to the latest connection", "two-connections", ".", func(p *proxy) sides {
		p.mu.Lock()
		mine := len(p.conns)
		p.mu.Unlock()
		return sides{out: when("R", func(m msg) string {
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.conns) > mine && m.id == "same" {
				return ""
			}
			return m.raw
		})}
	}},
	{"a protocol error without a code", "type-unknown|size-not-hexadecimal", ".*malformed|version-.*|name-size.*|result-size.*|" +
		"size-lookalikes|part-of-no-stream|stream-id-in-use", out(when("f", func(msg) string { return "f" }))},
	{"a protocol error of four digits", "type-unknown|size-not-hexadecimal", ".*malformed|version-.*|name-size.*|result-size.*|" +
		"size-lookalikes|part-of-no-stream|stream-id-in-use", out(when("f", func(msg) string { return "f0002" }))},
	{"a protocol error as text", "type-unknown|size-not-hexadecimal", ".*malformed|version-.*|name-size.*|result-size.*|" +
		"size-lookalikes|part-of-no-stream|stream-id-in-use", out(when("f", func(msg) string { return "finvalid " }))},
	{"heartbeats in milliseconds", "heartbeat-answered", "heartbeat.*|lower-case|hello-not-unasked|websocket-messages",
		out(when("h", func(m msg) string { return m.raw + "000" }))},
	{"a notification is answered with its own name", "notification-unknown",
		"notification-empty-name|reserved-names.*|extensions-.*|.*hello.*",
		func(*proxy) sides {
			return sides{back: when("n", func(m msg) string {
				if strings.HasPrefix(m.name, "gotalk:") || m.name == "ping" {
					return ""
				}
				return m.raw + "n002ok00000000"
			})}
		}},
	{"parts overtake each other", "stream|stream-both-ways", "stream.*|credit.*", func(*proxy) sides {
		held := ""
		return sides{in: when("p", func(m msg) string {
			if held == "" && m.payload != "" {
				held = m.raw
				return ""
			}
			all := m.raw + held
			if m.payload == "" {
				all = held + m.raw
			}
			held = ""
			return all
		})}
	}},
	{"results of streams overtake each other", "stream|stream-both-ways", "stream.*|credit.*", func(*proxy) sides {
		held := ""
		return sides{out: when("S", func(m msg) string {
			if held == "" && m.payload != "" {
				held = m.raw
				return ""
			}
			all := m.raw + held
			if m.payload == "" {
				all = held + m.raw
			}
			held = ""
			return all
		})}
	}},
	{"an empty part is the first of a result", "stream", "stream.*|credit.*|cancel-stream|hello-.*", func(*proxy) sides {
		begun := map[string]bool{}
		return sides{out: when("S", func(m msg) string {
			if begun[m.id] {
				return m.raw
			}
			begun[m.id] = true
			return "S" + m.id + "00000000" + m.raw
		})}
	}},
	{"streams are answered by R", "stream|stream-both-ways",
		"stream.*|credit.*|cancel-stream|hello-.*", out(when("S", func(m msg) string {
			return "R" + m.raw[1:]
		}))},
	{"parts of streams mix", "streams-at-once", "", func(*proxy) sides {
		first := ""
		return sides{out: when("S", func(m msg) string {
			if first == "" {
				first = m.id
			}
			if strings.HasPrefix(m.payload, ", then") {
				m.id = first
			}
			return m.bytes()
		})}
	}},
	{"parts of split requests get lost", "split-request", "split.*", func(*proxy) sides {
		split := map[string]bool{}
		return sides{in: when("sp", func(m msg) string {
			if m.is("s") {
				split[m.id] = m.name == "echo"
			} else if split[m.id] && m.payload != "" {
				return ""
			}
			return m.raw
		})}
	}},
	{"split requests are streams", "split-request", "split.*|stream-to-request", in(when("s", func(m msg) string {
		if m.name == "echo" {
			m.name = "stream"
		}
		return m.bytes()
	}))},
	{"results are split for all", "split-not-unasked|payload-70000",
		".*large.*|payload.*|hello-empty|results-not-read|websocket.*", out(when("R", func(m msg) string {
			if len(m.payload) < 1<<16 {
				return m.raw
			}
			half := len(m.payload) / 2
			return fmt.Sprintf("S%s%08x%sS%s%08x%sS%s00000000", m.id, half, m.payload[:half],
				m.id, len(m.payload)-half, m.payload[half:], m.id)
		}))},
	{"split results have no end", "split-result",
		"split.*|stream.*|credit.*|cancel-stream|hello-.*", out(when("S", func(m msg) string {
			if m.payload == "" {
				return ""
			}
			return m.raw
		}))},
	{"dies of a claim", "size-claimed", ".", func(p *proxy) sides {
		return sides{chunk: func(b []byte) []byte {
			if strings.Contains(string(b), "ffffffff") {
				p.die()
			}
			return b
		}}
	}},
	{"dies of half a message", "half-messages", ".", func(p *proxy) sides {
		return sides{inVersion: func(v string) string {
			if len(v) == 1 {
				p.die()
			}
			return v
		}}
	}},
	{"dies with a connection that has requests under way", "closed-with-requests", ".", func(p *proxy) sides {
		waiting := false
		return sides{in: when("r", func(m msg) string {
			waiting = waiting || m.name == "wait" && m.id == "wait"
			if waiting {
				p.die()
			}
			return m.raw
		})}
	}},
}

// A peer that has little room, and says so wrongly.
func TestRetryFaultsAreFound(t *testing.T) {
	for name, f := range map[string]func(m msg) string{
		"without a time":     func(m msg) string { return "e" + m.id + m.raw[13:] },
		"without a size":     func(m msg) string { return m.raw[:13] + m.payload },
		"for an hour":        func(m msg) string { m.wait = 3600_000; return m.bytes() },
		"twice":              twice,
		"and an error":       func(m msg) string { return m.raw + "E" + m.id + "00000000" },
		"for another":        func(m msg) string { m.id = "none"; return m.bytes() },
		"as an error":        func(m msg) string { return part("E", m.id, m.payload) },
		"as an empty result": func(m msg) string { return part("R", m.id, "") },
		"by the end":         end,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(startProxy(t, serveTCP(t, handlers(), gotalk.NewLimits(50, 50)), out(when("e", f))).Addr().String())
			o.Run, o.Quiet = only("retry-result"), 100*time.Millisecond
			require.Equal(t, []string{"retry-result"}, ended(check(t, o), conform.Failed))
		})
	}
}

func part(typ, id, payload string) string {
	return fmt.Sprintf("%s%s%08x%s", typ, id, len(payload), payload)
}
