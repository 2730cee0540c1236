package conform

import (
	"fmt"
	"strings"
)

var streamChecks = []check{
	{"stream", "5",
		"A streaming request has an input and a result of many parts; an empty one is the end.",
		"stream", func(t *T) {
			c := t.connect()
			id := c.beginStream("one")
			c.send(part('p', id, "two"), part('p', id, "three"), part('p', id, ""))
			c.wantStream(id, "onetwothree")
			c.wantStreamEnd(id)
			c.inStep()
		}},
	{"stream-both-ways", "5", "Parts are handled before the input has ended.", "stream", func(t *T) {
		c := t.connect()
		id := c.beginStream("one")
		c.wantStream(id, "one")
		for _, payload := range []string{"two", "three", "\x00\xff"} {
			c.send(part('p', id, payload))
			c.wantStream(id, payload)
		}
		c.send(part('p', id, ""))
		c.wantStreamEnd(id)
		c.inStep()
	}},
	{"stream-empty-first-part", "5", "A first part that is empty does not end the input.", "stream", func(t *T) {
		c := t.connect()
		id := c.beginStream("")
		c.stillAnswers("")
		c.send(part('p', id, "two"), part('p', id, ""))
		c.wantStream(id, "two")
		c.wantStreamEnd(id)
		c.inStep()
	}},
	{"stream-ids", "3", "The id of a stream is any four bytes.", "stream", func(t *T) {
		c := t.connect()
		for _, id := range []string{"\x00\x01\x80\xff", "!000", "p\x00\n\r"} {
			c.send(request('s', id, t.op("stream"), "one"), part('p', id, ""))
			c.wantStream(id, "one")
			c.wantStreamEnd(id)
		}
		c.inStep()
	}},
	{"stream-beside-requests", "5", "A stream that is open holds up no requests.", "stream", func(t *T) {
		c := t.connect()
		id := c.beginStream("one")
		c.wantStream(id, "one")
		c.stillAnswers("")
		c.send(part('p', id, ""))
		c.wantStreamEnd(id)
		c.inStep()
	}},
	{"streams-at-once", "5", "Streams that go on at once do not mix.", "stream", func(t *T) {
		c := t.connect()
		const n = 8
		var begin, more, end []sent
		content := map[string]string{}
		for i := range n {
			id := c.newID()
			begin = append(begin, request('s', id, t.op("stream"), fmt.Sprint("first ", i)))
			more = append(more, part('p', id, fmt.Sprint(", then ", i)))
			end = append(end, part('p', id, ""))
			content[id] = fmt.Sprintf("first %d, then %d", i, i)
		}
		c.send(append(append(begin, more...), end...)...)
		for ended := 0; ended < n; {
			want := "parts of the results"
			m := c.next(want)
			rest, ok := content[m.id]
			switch {
			case !m.is("S", m.id) || !ok || !strings.HasPrefix(rest, m.payload) || m.payload == "" && rest != "":
				c.unexpected(want, m)
			case m.payload == "":
				delete(content, m.id)
				ended++
			default:
				content[m.id] = rest[len(m.payload):]
			}
		}
		c.inStep()
	}},
	{"stream-large", "5", "A stream of a mebibyte comes back whole.", "stream", func(t *T) {
		c := t.connect()
		id, content := t.streamLarge(c, 1<<20)
		c.wantStream(id, content)
		c.wantStreamEnd(id)
		c.inStep()
	}},
	{"stream-not-read", "5", "A stream whose result is not read for a while goes on when it is.", "stream", func(t *T) {
		c, other := t.connect(), t.connect()
		id, content := t.streamLarge(c, 8<<20)
		other.stillAnswers("")
		t.pause(4 * t.options.Quiet)
		other.stillAnswers("")
		c.wantStream(id, content)
		c.wantStreamEnd(id)
		c.inStep()
	}},
	{"stream-refused", "5",
		"A stream of an unknown operation is answered with E, and parts of it that still come are dropped.",
		"", func(t *T) {
			c := t.connect()
			c.send(request('s', "none", "conform/no stream", "one"))
			c.wantError("none")
			c.send(part('p', "none", "two"))
			c.stillAnswers("none")
			c.send(part('p', "none", "three"), part('p', "none", ""))
			c.stillAnswers("none")
			c.wantQuiet()
		}},
	{"stream-id-again", "5", "The id of a stream may be used again when it is over.", "stream", func(t *T) {
		c := t.connect()
		for i := range 3 {
			content := fmt.Sprint("round ", i)
			c.send(request('s', "same", t.op("stream"), content), part('p', "same", ""))
			c.wantStream("same", content)
			c.wantStreamEnd("same")
		}
		c.inStep()
	}},
	{"stream-to-request", "5",
		"A streaming request for an operation that is none of streams disturbs no others.",
		"echo", func(t *T) {
			c := t.connect()
			c.send(request('s', "0000", t.op("echo"), hello))
			// It may also wait for the end, which we cannot send: it must not come after a refusal.
			want := "the answer to another request, or E, S, R, or e"
			for id := c.echo(hello); ; {
				if m := c.next(want); m.is("REe", id) {
					return
				} else if !m.is("ESRe", "0000") {
					c.unexpected(want, m)
				}
			}
		}},
	{"request-to-stream", "5", "A single request for an operation of streams is answered.", "stream", func(t *T) {
		c := t.connect()
		c.send(request('r', "0000", t.op("stream"), hello))
		if m := c.next("an answer"); !m.is("ESRe", "0000") {
			c.unexpected("an answer", m)
		}
		c.stillAnswers("0000")
	}},
	{"stream-left-open", "5", "A connection that ends in the middle of a stream harms no other.", "stream", func(t *T) {
		other := t.connect()
		for range 5 {
			c := t.connect()
			id := c.beginStream("one")
			c.wantStream(id, "one")
			c.close()
		}
		other.stillAnswers("")
		t.connect().inStep()
	}},
	{"part-of-no-stream", "5", "A part with an id that was never used is answered with protocol error 2.", "", func(t *T) {
		c := t.connect()
		c.send(part('p', "0000", "one"))
		c.wantEnd(2)
	}},
	{"stream-id-in-use", "5",
		"A stream with the id of one that is not over is answered with protocol error 2.",
		"stream", func(t *T) {
			c := t.connect()
			id := c.beginStream("one")
			c.wantStream(id, "one")
			c.send(request('s', id, t.op("stream"), "two"))
			c.wantEnd(2)
		}},
}

// streamLarge begins to send a stream of n bytes, while the check reads.
func (t *T) streamLarge(c *conn, n int) (id, content string) {
	content = quoted(5, n)
	id = c.newID()
	t.meanwhile(func() {
		const size = 60_000
		c.send(request('s', id, t.op("stream"), content[:size]))
		for rest := content[size:]; ; rest = rest[min(size, len(rest)):] {
			c.send(part('p', id, rest[:min(size, len(rest))]))
			if rest == "" {
				return
			}
		}
	})
	return id, content
}
