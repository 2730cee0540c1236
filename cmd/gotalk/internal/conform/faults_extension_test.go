package conform_test

import (
	"encoding/json"
	"strings"
)

var extensionFaults = []fault{
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
		m.payload = strings.Replace(m.payload, `":200}`, `":200000}`, 1)
		return m.bytes()
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
