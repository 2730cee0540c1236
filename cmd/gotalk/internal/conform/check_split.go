package conform

import (
	"fmt"
	"strings"
)

var splitChecks = []check{
	{"split-request", "9",
		"A request that comes in parts reaches an operation that wants all of it.",
		"split echo", func(t *T) {
			c := t.sayHello(`"split":4096,"meta":1,"cancel":1`)
			content := quoted(1, 3000)
			for i := range 2 {
				id := c.newID()
				if i == 1 && t.offers["meta"] {
					c.send(note("gotalk:meta", fmt.Sprintf(`%s{"size":%d}`, id, len(content))))
				}
				c.send(request('s', id, t.op("echo"), content[:1000]), part('p', id, content[1000:2999]))
				c.stillAnswers("")
				c.send(part('p', id, content[2999:]), part('p', id, ""))
				c.wantWhole(id, content)
			}
			c.inStep()
		}},
	{"split-result", "9", "A large result comes whole or in parts, to a peer that said split.", "split echo", func(t *T) {
		c := t.sayHello(`"split":16384`)
		content := quoted(2, 300_000)
		t.meanwhile(func() { c.send(c.echoRequest("big.", content)) })
		c.wantWhole("big.", content)
		c.inStep()
	}},
	{"split-not-unasked", "9", "To a peer that did not say split it comes whole.", "split echo", func(t *T) {
		c := t.sayHello(`"cancel":1,"meta":1`)
		content := quoted(2, 90_000)
		t.meanwhile(func() { c.send(c.echoRequest("big.", content)) })
		c.wantResult("big.", content)
		c.inStep()
	}},
	{"split-call", "9", "A peer that said split puts the parts of its results together.", "split call", func(t *T) {
		c := t.sayHello(`"split":65536`)
		id, theirs := c.call(hello)
		c.send(part('S', theirs, `"one`))
		c.stillAnswers("")
		c.send(part('S', theirs, `two"`), part('S', theirs, ""))
		c.wantWhole(id, `"onetwo"`)
		c.inStep()
	}},
	{"split-cancelled", "9",
		"A request that is cancelled before all of it has come is answered once.",
		"split cancel meta echo", func(t *T) {
			c := t.sayHello(`"split":65536,"cancel":1,"meta":1`)
			id := c.newID()
			c.send(note("gotalk:meta", id+`{"size":100000}`), request('s', id, t.op("echo"), quoted(1, 5000)))
			c.stillAnswers("")
			c.send(note("gotalk:cancel", id))
			c.wantAnswer(id)
			c.send(part('p', id, "late"), part('p', id, ""))
			c.inStep()
		}},
	{"split-left-open", "9", "Requests that never come to an end harm nothing else.", "split meta echo", func(t *T) {
		other := t.connect()
		for range 5 {
			c := t.sayHello(`"split":65536,"cancel":1,"meta":1`)
			c.send(note("gotalk:meta", `0000{"size":100000}`), request('s', "0000", t.op("echo"), quoted(1, 50_000)))
			c.stillAnswers("")
			c.close()
		}
		other.inStep()
	}},
}

// wantWhole reads a result that may come in parts.
func (c *conn) wantWhole(id, content string) {
	want := "a result, whole or in parts: " + escape(part('R', id, content).String())
	m := c.next(want)
	if m.is("R", id) && m.payload == content {
		return
	}
	if m.is("E", id) && len(content) > 100_000 {
		c.t.skip(fmt.Sprintf("the peer does not take %d bytes: %s", len(content), escape(m.payload)))
	}
	for rest := content; ; m = c.next(want) {
		if !m.is("S", id) || !strings.HasPrefix(rest, m.payload) || m.payload == "" && rest != "" {
			c.unexpected(want, m)
		}
		if m.payload == "" {
			return
		}
		rest = rest[len(m.payload):]
	}
}
