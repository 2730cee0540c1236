package conform

import (
	"encoding/json"
	"fmt"
	"strings"
)

var extensionChecks = []check{
	{"hello-not-unasked", "9", "A peer that was not told hello sends nothing with a reserved name.", "", func(t *T) {
		c := t.connect()
		c.stillAnswers("")
		c.send(request('r', "none", unknownName, hello), heartbeat(0, 0))
		c.wantError("none")
		if t.offers["stream"] {
			id := c.beginStream("one")
			c.send(part('p', id, ""))
			c.wantStream(id, "one")
			c.wantStreamEnd(id)
		}
		c.inStep()
		if c.hellos > 0 {
			c.unexpected("nothing with a reserved name", *c.hello)
		}
		if len(c.extensions) > 0 {
			c.unexpected("nothing with a reserved name", c.extensions[0])
		}
	}},
	{"errors-plain-before-hello", "9", "Without hello an error result is plain text.", "", func(t *T) {
		c := t.connect()
		c.send(request('r', "none", unknownName, hello))
		if text := c.wantError("none"); errorCode(text) != "" {
			t.fail(classWrong, "plain text", "%s", escape(text))
		}
		c.inStep()
	}},
	{"reserved-names-dropped", "9",
		"Notifications with reserved names that a peer does not know are dropped, and reach no handler.",
		"", func(t *T) {
			c := t.connect()
			c.send(note("gotalk:future", hello), note("gotalk:", ""), note("gotalk:"+t.op("ping"), hello))
			c.inStep()
		}},
	{"extensions-before-hello", "9", "Extensions that come before hello are dropped.", "wait", func(t *T) {
		c := t.connect()
		c.send(note("gotalk:meta", `0000{"timeout_ms":1}`), request('r', "0000", t.op("wait"), hello))
		c.send(note("gotalk:cancel", "0000"), note("gotalk:credit", "S00000000000a"),
			note("gotalk:goaway", "{}"), note("gotalk:cancel", "malformed"))
		c.stillAnswers("")
		const want = "no answer, as a peer without hello cannot cancel"
		if m, ok := c.soon(4*t.options.Quiet, want); ok {
			c.unexpected(want, m)
		}
		c.inStep()
	}},
	{"hello", "9", "Hello is answered once, with a JSON object.", "hello", func(t *T) {
		c := t.sayHello(allKeys)
		keys, ok := c.hello.keys()
		if !ok {
			c.unexpected("a JSON object", *c.hello)
		}
		for _, name := range []string{"credit", "split"} {
			var n float64
			if v := keys[name]; v != nil && (json.Unmarshal(v, &n) != nil || n < 1 || n != float64(int64(n))) {
				c.unexpected("a number of bytes for the key "+name, *c.hello)
			}
		}
		c.inStep()
		if c.hellos != 1 {
			t.fail(classWrong, "one hello", "%d", c.hellos)
		}
	}},
	{"hello-unknown-keys", "9",
		"Keys of hello that are not known are ignored, and what they stand for too.",
		"hello", func(t *T) {
			c := t.sayHello(`"not yet invented":[1,{"a":null}],"":0,"error":1`)
			c.send(note("gotalk:not yet invented", hello))
			c.inStep()
		}},
	{"hello-empty", "9", "To a peer that understands nothing, nothing is said.", "hello", func(t *T) {
		c := t.sayHello("")
		c.send(request('r', "none", unknownName, hello))
		if text := c.wantError("none"); errorCode(text) != "" {
			t.fail(classWrong, "plain text, as our hello has no error", "%s", escape(text))
		}
		if t.offers["stream"] {
			id, content := t.streamLarge(c, 300_000)
			c.wantStream(id, content)
			c.wantStreamEnd(id)
		}
		if t.offers["echo"] {
			c.wantResult(c.echo(quoted(1, 90_000)), quoted(1, 90_000))
		}
		c.inStep()
		for _, m := range c.extensions {
			if m.name != "gotalk:credit" || !t.offers["credit"] { // whose own window may matter to it all the same
				c.unexpected("nothing of extensions that our hello does not name", m)
			}
		}
	}},
	{"hello-malformed", "9",
		"A hello that is no JSON object, or is over 16 KiB, is answered with protocol error 2.",
		"hello", func(t *T) {
			for _, payload := range []string{"", "not JSON", "[1,2]", "{", `{"credit":"much"}`,
				`{"a":"` + strings.Repeat("a", 16<<10) + `"}`} {
				if payload == `{"credit":"much"}` && !t.offers["credit"] {
					continue
				}
				c := t.connectAnd(note("gotalk:hello", payload))
				c.wantEnd(2)
				c.nc.Close()
			}
		}},
	{"reserved-names-after-hello", "9", "That stays so after hello.", "hello", func(t *T) {
		c := t.sayHello(allKeys)
		c.send(note("gotalk:future", hello), note("gotalk:", ""), note("gotalk:"+t.op("ping"), quoted(1, 20_000)))
		c.inStep()
	}},
	{"requests-after-hello", "9", "Requests go on as before.", "hello echo", func(t *T) {
		c := t.sayHello(allKeys)
		c.wantResult(c.echo(hello), hello)
		requests, payloads := c.echoes(50, 20)
		c.send(requests...)
		c.wantAnswers(payloads)
		c.inStep()
	}},
	{"error-code", "9",
		"An error result with a code is a JSON object with the strings code and message.",
		"error", func(t *T) {
			c := t.sayHello(`"error":1`)
			c.send(request('r', "none", unknownName, hello))
			errorObject(c, "none")
			if t.offers["fail"] {
				c.send(request('r', "fail", t.op("fail"), hello))
				errorObject(c, "fail")
			}
			c.inStep()
		}},
	{"stream-refused-after-hello", "9",
		"After E a peer that has said hello gets no empty S; parts that still come are dropped, however late.",
		"hello", func(t *T) {
			c := t.sayHello(`"error":1,"credit":100000`)
			c.send(request('s', "none", "conform/no stream", "one"))
			c.wantError("none")
			c.stillAnswers("")
			const n = 1500
			var refused []sent
			for i := range n {
				refused = append(refused, request('s', fmt.Sprintf("n%03x", i), "conform/no stream", ""))
			}
			t.meanwhile(func() { c.send(refused...) })
			for range n {
				if m := c.next("error results"); !m.is("Ee", m.id) {
					c.unexpected("error results", m)
				}
			}
			c.send(part('p', "none", "two"), part('p', "none", ""))
			c.inStep()
		}},
}

const allKeys = `"cancel":1,"credit":100000,"error":1,"goaway":1,"meta":1`

// errorObject reads an error result. Only one that begins like an object has to be one.
func errorObject(c *conn, id string) {
	text := c.wantError(id)
	if strings.HasPrefix(text, "{") && errorCode(text) == "" {
		c.t.fail(classWrong, `plain text, or a JSON object with the strings "code" and "message"`, "%s", escape(text))
	}
}
