package conform

import "time"

var cancelChecks = []check{
	{"cancel", "9", "A request that is cancelled is still answered, once.", "cancel wait", func(t *T) {
		c := t.sayHello(`"cancel":1,"error":1`)
		c.send(request('r', "0001", t.op("wait"), hello))
		c.stillAnswers("")
		c.send(note("gotalk:cancel", "0001"))
		c.wantAnswer("0001")
		c.inStep()
	}},
	{"cancel-at-once", "9", "Also when the cancel comes with the request.", "cancel wait", func(t *T) {
		c := t.sayHello(`"cancel":1`)
		c.send(request('r', "0001", t.op("wait"), hello), note("gotalk:cancel", "0001"))
		c.wantAnswer("0001")
		c.inStep()
	}},
	{"cancel-one-of-many", "9", "Other requests go on.", "cancel wait", func(t *T) {
		c := t.sayHello(`"cancel":1`)
		for _, id := range []string{"0001", "0002", "0003"} {
			c.send(request('r', id, t.op("wait"), hello))
		}
		c.send(note("gotalk:cancel", "0002"))
		c.wantAnswer("0002")
		c.inStep()
		c.send(note("gotalk:cancel", "0003"), note("gotalk:cancel", "0001"))
		c.wantOneEach("0001", "0003")
		c.inStep()
	}},
	{"cancel-of-nothing", "9", "A cancel of what is over, or never was, is dropped.", "cancel", func(t *T) {
		c := t.sayHello(`"cancel":1`)
		id := c.echo(hello)
		c.wantAnswer(id)
		c.send(note("gotalk:cancel", id), note("gotalk:cancel", "????"), note("gotalk:cancel", "\x00\xff\x00\xff"))
		c.inStep()
	}},
	{"cancel-malformed", "9", "A cancel that is no request id is answered with protocol error 2.", "cancel", func(t *T) {
		for _, payload := range []string{"", "000", "00001"} {
			c := t.sayHello(`"cancel":1`)
			c.send(note("gotalk:cancel", payload))
			c.wantEnd(2)
		}
	}},
	{"cancel-stream", "9",
		"A stream that is cancelled ends with one last message; parts of it that still come are dropped.",
		"cancel stream", func(t *T) {
			c := t.sayHello(`"cancel":1,"error":1`)
			id := c.beginStream("one")
			c.wantStream(id, "one")
			c.send(note("gotalk:cancel", id))
			want := "one last message of the stream: E, R, e, or an empty S"
			if m := c.next(want); !m.is("ESRe", id) || m.typ == 'S' && m.payload != "" {
				c.unexpected(want, m)
			}
			c.stillAnswers("")
			c.send(part('p', id, "two"), part('p', id, ""))
			c.inStep()
		}},
	{"timeout", "9", "A request whose timeout_ms is over is answered with an error then, once.", "meta wait", func(t *T) {
		c := t.sayHello(`"meta":1,"error":1`)
		before := time.Now()
		c.send(note("gotalk:meta", `0001{"timeout_ms":200}`), request('r', "0001", t.op("wait"), hello))
		text := c.wantError("0001")
		if took := time.Since(before); took < 170*time.Millisecond {
			t.fail(classWrong, "the error after 200 ms", "it after %d ms", took/time.Millisecond)
		}
		if code := errorCode(text); code != "deadline_exceeded" {
			t.warn("the error is %s, where the code should be deadline_exceeded", escape(text))
		}
		c.inStep()
	}},
	{"timeout-not-reached", "9", "A request that is answered in time is answered as ever.", "meta", func(t *T) {
		c := t.sayHello(`"meta":1`)
		c.send(note("gotalk:meta", `0001{"timeout_ms":30}`), c.echoRequest("0001", hello))
		c.wantAnswer("0001")
		t.pause(40 * time.Millisecond)
		c.inStep()
	}},
	{"meta-any-keys", "9", "Meta may have any keys, and values that nobody expects.", "meta", func(t *T) {
		c := t.sayHello(`"meta":1`)
		for _, payload := range []string{`{}`,
			`{"user":"rasmus","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`,
			`{"a":1,"b":[null],"c":{}}`, `{"timeout_ms":1e9}`} {
			id := c.newID()
			c.send(note("gotalk:meta", id+payload), c.echoRequest(id, hello))
			c.wantAnswer(id)
		}
		c.inStep()
	}},
	{"meta-of-another-request", "9",
		"Meta that is followed by a request with another id is dropped.",
		"meta wait", func(t *T) {
			c := t.sayHello(`"meta":1`)
			c.send(note("gotalk:meta", `0001{"timeout_ms":20}`), request('r', "0002", t.op("wait"), hello))
			c.send(request('r', "0001", t.op("wait"), hello))
			t.pause(150 * time.Millisecond)
			c.inStep()
		}},
	{"meta-malformed", "9",
		"Meta that is no id with a JSON object is answered with protocol error 2.",
		"meta", func(t *T) {
			for _, payload := range []string{"", "00", "0001", "0001[1]", "0001{", `{"timeout_ms":1}`} {
				c := t.sayHello(`"meta":1`)
				c.send(note("gotalk:meta", payload))
				c.wantEnd(2)
			}
		}},
}

// wantOneEach reads one answer to each of these requests, in any order.
func (c *conn) wantOneEach(ids ...string) {
	open := map[string]bool{}
	for _, id := range ids {
		open[id] = true
	}
	for range ids {
		want := "one answer to each request"
		m := c.next(want)
		if !m.is("REe", m.id) || !open[m.id] {
			c.unexpected(want, m)
		}
		delete(open, m.id)
	}
}

var goawayChecks = []check{
	{"goaway", "9", "Who is told to go away closes a connection on which nothing is under way.", "goaway", func(t *T) {
		c := t.sayHello(`"goaway":1`)
		c.send(note("gotalk:goaway", goaway))
		c.wantEnd(-1)
	}},
	{"goaway-with-requests", "9", "Requests that came before are answered first.", "goaway echo", func(t *T) {
		c := t.sayHello(`"goaway":1`)
		requests, payloads := c.echoes(10, 20)
		c.send(append(requests, note("gotalk:goaway", goaway))...)
		c.wantAnswers(payloads)
		c.wantEnd(-1)
	}},
	{"goaway-with-calls", "9",
		"Requests of the peer's that are under way end, too, and new ones are not made.",
		"goaway call", func(t *T) {
			c := t.sayHello(`"goaway":1`)
			id, theirs := c.call(hello)
			c.send(note("gotalk:goaway", goaway))
			again := c.newID()
			c.send(request('r', again, t.op("call"), `"again"`))
			if m := c.next("an error result"); !m.is("Ee", again) {
				c.unexpected("an error result, as it must make no request here", m)
			}
			c.send(part('R', theirs, hello))
			c.wantResult(id, hello)
			c.wantEnd(-1)
		}},
	{"goaway-malformed", "9", "A goaway that is no JSON object is answered with protocol error 2.", "goaway", func(t *T) {
		for _, payload := range []string{"", "later", "[]"} {
			c := t.sayHello(`"goaway":1`)
			c.send(note("gotalk:goaway", payload))
			c.wantEnd(2)
		}
	}},
}

const goaway = `{"after_ms":1000,"jitter_ms":500,"reason":"conformance"}`
