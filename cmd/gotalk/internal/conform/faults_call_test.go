package conform_test

import (
	"strings"
	"sync"
)

var callFaults = []fault{
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
	{"any result is taken for the call's", "call-unknown-ids", "call-ids|calls-at-once|split-call", func(*proxy) sides {
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
	{"calls have the same id", "calls-at-once", "goaway-with-calls|call-unknown-ids|split-call", func(*proxy) sides {
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
		"stream-.*|cancel-stream|credit-overrun|split.*", lateParts(func(id string) string { return "E" + id + "00000004late" })},
	{"a late part ends the connection", "stream-refused",
		"stream-.*|cancel-stream|credit-overrun|split.*", lateParts(func(string) string { return "f00000002" })},
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
