package conform

import "time"

var callChecks = []check{
	{"call", "4", "A peer makes requests too: it takes the answer, and no other, for the result.", "call", func(t *T) {
		c := t.connect()
		id, theirs := c.call(hello)
		c.send(part('R', theirs, `"fine"`))
		c.wantResult(id, `"fine"`)
		c.inStep()
	}},
	{"call-meanwhile", "4", "A peer that waits for a result goes on answering requests.", "call", func(t *T) {
		c := t.connect()
		id, theirs := c.call(hello)
		c.stillAnswers("")
		c.send(part('R', theirs, hello))
		c.wantResult(id, hello)
		c.inStep()
	}},
	{"call-ids", "3", "Each side has request ids of its own.", "call echo", func(t *T) {
		c := t.connect()
		id, theirs := c.call(hello)
		c.send(c.echoRequest(theirs, `"with their id"`))
		c.wantResult(theirs, `"with their id"`)
		c.send(part('R', theirs, `"theirs"`))
		c.wantResult(id, `"theirs"`)
		c.inStep()
	}},
	{"call-unknown-ids", "5", "A result with another id is not that of the request.", "call", func(t *T) {
		c := t.connect()
		id, theirs := c.call(hello)
		for _, other := range []string{id, "????", "\x00\x00\x00\x00"} {
			if other != theirs {
				c.send(part('R', other, `"not yours"`))
			}
		}
		c.stillAnswers("")
		c.send(part('R', theirs, hello))
		c.wantResult(id, hello)
		c.inStep()
	}},
	{"calls-at-once", "4", "Results may come in any order.", "call", func(t *T) {
		c := t.connect()
		var calls []sent
		payloads := map[string]string{}
		for i := range 10 {
			id := c.newID()
			payloads[id] = quoted(i, 10+i)
			calls = append(calls, request('r', id, t.op("call"), payloads[id]))
		}
		c.send(calls...)
		theirs := map[string]bool{}
		var results []sent
		for range calls {
			m := c.wantCall()
			if theirs[m.id] {
				c.unexpected("a request whose id is not that of another one under way", m)
			}
			theirs[m.id] = true
			results = append([]sent{part('R', m.id, m.payload)}, results...)
		}
		c.send(results...)
		c.wantAnswers(payloads)
		c.inStep()
	}},
	{"call-large", "2", "A result of 70,000 bytes is taken whole.", "call", func(t *T) {
		c := t.connect()
		id, theirs := c.call(hello)
		c.send(part('R', theirs, quoted(1, 70_000)))
		c.wantResult(id, quoted(1, 70_000))
		c.inStep()
	}},
	{"call-in-pieces", "1", "A result may come in pieces.", "call", func(t *T) {
		c := t.connect()
		id, theirs := c.call(hello)
		for _, b := range []byte(part('R', theirs, hello).String()) {
			c.sendText(string([]byte{b}))
			t.pause(t.options.Quiet / 50)
		}
		c.wantResult(id, hello)
		c.inStep()
	}},
	{"call-upper-case", "2", "The digits of a result may be in upper case.", "call", func(t *T) {
		c := t.connect()
		id, theirs := c.call(hello)
		c.send(sent{"R" + theirs + "000000AB", quoted(1, 0xab)})
		c.wantResult(id, quoted(1, 0xab))
		c.inStep()
	}},
	{"call-twice-answered", "5", "A second result of a request is dropped.", "call", func(t *T) {
		c := t.connect()
		id, theirs := c.call(hello)
		c.send(part('R', theirs, `"first"`), part('R', theirs, `"second"`), part('E', theirs, "third"))
		c.wantResult(id, `"first"`)
		c.inStep()
	}},
	{"call-error", "4", "An error result fails the request.", "call", func(t *T) {
		c := t.connect()
		id, theirs := c.call(hello)
		c.send(part('E', theirs, "we refuse"))
		c.wantError(id)
		c.inStep()
	}},
	{"call-retry", "4",
		"After a retry result the request may be made again, but not before the time that it says.",
		"call", func(t *T) {
			c := t.connect()
			id, theirs := c.call(hello)
			const wait = 200 * time.Millisecond
			before := time.Now()
			c.send(retry(theirs, int(wait/time.Millisecond), "request rate limit"))
			m := c.next("the request again, or an error result")
			switch took := time.Since(before); {
			case m.is("E", id):
			case m.typ != 'r' || m.name != t.op("answer") || m.payload != hello:
				c.unexpected("the same request again, or an error result", m)
			case took < wait*9/10:
				t.fail(classWrong, "the request again after 200 ms", "the request again after %d ms", took/time.Millisecond)
			default:
				c.send(part('R', m.id, hello))
				c.wantResult(id, hello)
			}
			c.inStep()
		}},
	{"call-stream-result", "5",
		"A streaming result of a single request is put together or fails the request; the rest of it is dropped.",
		"call", func(t *T) {
			c := t.connect()
			id, theirs := c.call(hello)
			c.send(part('S', theirs, `"one`), part('S', theirs, `two"`), part('S', theirs, ""))
			if m := c.wantAnswer(id); m.typ != 'E' && m.payload != `"onetwo"` {
				c.unexpected("an error result, or all of the payload", m)
			}
			c.inStep()
		}},
	{"call-unanswered", "4",
		"A connection that ends while a request of the peer's waits harms no other.",
		"call", func(t *T) {
			other := t.connect()
			c := t.connect()
			c.call(hello)
			c.close()
			other.stillAnswers("")
			t.connect().inStep()
		}},
}
