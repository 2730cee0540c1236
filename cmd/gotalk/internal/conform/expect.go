package conform

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// newID returns a request id that this connection has not used.
func (c *conn) newID() string {
	c.ids++
	return fmt.Sprintf("%04d", c.ids)
}

// quoted is a payload of n bytes that is JSON, so that an operation which takes JSON can echo it too. seed makes it
// different from others.
func quoted(seed, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte((seed*7+i+i/26)%26)
	}
	b[0], b[n-1] = '"', '"'
	return string(b)
}

const hello = `"hello"`

// echo requests the operation echo, and returns the id.
func (c *conn) echo(payload string) (id string) {
	id = c.newID()
	c.send(c.echoRequest(id, payload))
	return id
}

func (c *conn) echoRequest(id, payload string) sent { return request('r', id, c.t.op("echo"), payload) }

// unexpected fails the check because m came in the place of what is wanted.
func (c *conn) unexpected(want string, m message) {
	c.t.fail(classWrong, want, "%s", escape(m.String()))
}

// wantResult reads the answer to a single request, which has to be that.
func (c *conn) wantResult(id, payload string) {
	want := escape(part('R', id, payload).String())
	m := c.next(want)
	if !m.is("R", id) || m.payload != payload {
		c.unexpected(want, m)
	}
}

// wantError reads the answer to a request, which has to be an error result, and returns its text.
func (c *conn) wantError(id string) string {
	want := "an error result, E" + escape(id) + "…"
	m := c.next(want)
	if !m.is("E", id) {
		c.unexpected(want, m)
	}
	if !utf8.ValidString(m.payload) {
		c.unexpected("an error result whose text is UTF-8", m)
	}
	return m.payload
}

// wantAnswer reads the answer to a request, of whatever kind.
func (c *conn) wantAnswer(id string) message {
	want := "an answer to request " + escape(id) + ": R, E or e"
	m := c.next(want)
	if !m.is("REe", id) {
		c.unexpected(want, m)
	}
	return m
}

// wantAnswers reads one answer to each of these requests, in any order. Those that are R must have that payload.
func (c *conn) wantAnswers(payloads map[string]string) {
	open := make(map[string]bool, len(payloads))
	for id := range payloads {
		open[id] = true
	}
	for n := len(open); n > 0; n-- {
		want := fmt.Sprintf("answers to %d more of %d requests", n, len(payloads))
		m := c.next(want)
		payload, known := payloads[m.id]
		switch {
		case !m.is("REe", m.id) || !known:
			c.unexpected(want, m)
		case !open[m.id]:
			c.unexpected("one answer to each request", m)
		case m.typ == 'R' && m.payload != payload:
			c.unexpected(escape(part('R', m.id, payload).String()), m)
		case m.typ == 'E' && (c.ws == nil || c.hello != nil): // else it may stand for e
			c.unexpected("a result, or a retry result", m)
		}
		open[m.id] = false
	}

}

// inStep checks that the connection is in order: one more request is answered, and nothing else comes.
func (c *conn) inStep() {
	c.stillAnswers("")
	c.wantQuiet()
}

// stillAnswers checks that a request is answered, whatever with, and nothing comes before but what belongs to the stream
// with that id, if there is one.
func (c *conn) stillAnswers(stream string) {
	for {
		id := c.echo(`"still here"`)
		want := "nothing but the answer to request " + id
		m := c.next(want)
		for stream != "" && m.is("S", stream) {
			m = c.next(want)
		}
		switch {
		case !m.is("REe", id), m.typ == 'R' && m.payload != `"still here"`, m.typ == 'E' && c.t.offers["echo"]:
			c.unexpected(want, m)
		case m.typ == 'e':
			c.t.pause(time.Duration(m.number) * time.Millisecond)
			continue
		}
		return
	}
}

// wantQuiet checks that nothing more comes.
func (c *conn) wantQuiet() {
	const want = "nothing more"
	if m, ok := c.soon(c.t.options.Quiet, want); ok {
		c.unexpected(want, m)
	}
	if c.ended != "" {
		c.t.fail(classClosed, want, "%s", c.ended)
	}
}

// pause waits, within the time that the check has.
func (t *T) pause(d time.Duration) { time.Sleep(min(d, time.Until(t.deadline))) }

// wantEnd checks that the peer ends the connection, after a protocol error if code is not negative.
func (c *conn) wantEnd(code int) {
	want := "the end of the connection"
	if code >= 0 {
		want = fmt.Sprintf("protocol error %d, f%08x, and then the end of the connection", code, code)
	}
	m, ok := c.maybe(want)
	for ok && m.is("RESe", m.id) { // of requests before
		m, ok = c.maybe(want)
	}
	switch {
	case !ok && code >= 0:
		c.t.fail(classClosed, want, "%s", c.ended)
	case ok && (code < 0 || m.typ != 'f' || m.number != uint32(code)):
		c.unexpected(want, m)
	case ok:
		if m, ok = c.maybe(want); ok {
			c.unexpected("nothing behind the protocol error, but the end of the connection", m)
		}
	}
}

// wantCall reads a request of the peer's for the operation answer.
func (c *conn) wantCall() message {
	want := "a request for our operation " + c.t.op("answer")
	m := c.next(want)
	if m.typ != 'r' && m.typ != 's' || m.name != c.t.op("answer") {
		c.unexpected(want, m)
	}
	return m
}

// call has the peer call us back, and returns the ids of our request and of the peer's.
func (c *conn) call(payload string) (id, theirs string) {
	id = c.newID()
	c.send(request('r', id, c.t.op("call"), payload))
	m := c.wantCall()
	if m.typ != 'r' || m.payload != payload {
		c.unexpected(fmt.Sprintf("a single request for our operation %s with payload %s", c.t.op("answer"), escape(payload)), m)
	}
	return id, m.id
}

// wantStream reads parts of a streaming result until it has that many bytes.
func (c *conn) wantStream(id, content string) {
	for at := 0; at < len(content); {
		want := fmt.Sprintf("parts of a result, of which %d bytes are due: S%s… %s", len(content)-at, escape(id),
			escape(content[at:min(len(content), at+shownStart)]))
		m := c.next(want)
		if !m.is("S", id) || m.payload == "" || !strings.HasPrefix(content[at:], m.payload) {
			c.unexpected(want, m)
		}
		at += len(m.payload)
	}
}

// wantStreamEnd reads the end of a streaming result.
func (c *conn) wantStreamEnd(id string) {
	want := "the end of the result, " + escape(part('S', id, "").String())
	if m := c.next(want); !m.is("S", id) || m.payload != "" {
		c.unexpected(want, m)
	}
}

// beginStream begins a stream of the operation stream.
func (c *conn) beginStream(payload string) (id string) {
	id = c.newID()
	c.send(request('s', id, c.t.op("stream"), payload))
	return id
}

// sayHello connects and says hello with these keys, and reads the peer's.
func (t *T) sayHello(keys string) *conn {
	c := t.dial()
	c.saidHello, c.joinable = true, strings.Contains(keys, `"join"`)
	first := note("gotalk:hello", "{"+keys+"}")
	if c.joinable {
		c.sendText(version + first.String())
	} else {
		c.send(sent{header: version}, first)
	}
	c.wantVersion()
	c.stillAnswers("") // the peer's hello comes before that
	if c.hello == nil {
		t.fail(classSilence, "gotalk:hello, before the answer to a request", "nothing but the answer")
	}
	return c
}

// keys takes the peer's hello apart.
func (m message) keys() (keys map[string]json.RawMessage, ok bool) {
	ok = json.Unmarshal([]byte(m.payload), &keys) == nil && keys != nil
	return keys, ok
}

// errorCode returns the code of an error result, or "" if it is plain text.
func errorCode(payload string) string {
	var e struct{ Code, Message *string }
	if !strings.HasPrefix(payload, "{") || json.Unmarshal([]byte(payload), &e) != nil || e.Code == nil || e.Message == nil {
		return ""
	}
	return *e.Code
}
