package conform

import (
	"fmt"
	"strconv"
	"strings"
)

var creditChecks = []check{
	{"credit-window", "9",
		"A peer sends no more on a stream than its window, until it gets credit.",
		"credit stream", func(t *T) {
			c := t.sayHello(`"credit":1000,"error":1`)
			s := c.window(1000)
			for range 5 {
				s.give(400)
			}
			for s.free > 500 {
				s.take()
			}
			for { // the window is used up, or nearly
				m, more := c.soon(4*t.options.Quiet, "no more than the window")
				if !more {
					break
				}
				s.count(m)
			}
			c.stillAnswersBeside(s)
			for s.taken < s.given {
				s.grant(500 - min(s.free, 0))
				s.take()
			}
			s.end()
		}},
	{"credit-large-part", "9",
		"A part that is larger than the window does not wait for ever.",
		"credit stream", func(t *T) {
			c := t.sayHello(`"credit":1000,"error":1`)
			s := c.window(1000)
			s.give(5000)
			for s.taken < s.given {
				s.take()
				s.grant(max(0, 500-s.free))
			}
			s.end()
		}},
	{"credit-each-stream", "9",
		"Each stream has a window of its own, and one that is used up holds up nothing else.",
		"credit stream", func(t *T) {
			c := t.sayHello(`"credit":1000,"error":1`)
			first := c.window(1000)
			for range 5 {
				first.give(500)
			}
			for first.taken < 1000 {
				first.take()
			}
			c.stillAnswersBeside(first)
			second := c.window(1000)
			second.give(300)
			second.others = first
			for second.taken < second.given {
				second.take()
			}
			second.end()
			c.stillAnswersBeside(first)
		}},
	{"credit-granted", "9", "A receiver gives credit for what it has taken.", "credit stream", func(t *T) {
		if t.window > 4<<20 {
			t.skip("the peer's window is larger than 4 MiB")
		}
		c := t.sayHello(`"credit":1000000,"error":1`)
		s := c.window(1_000_000)
		s.ours = t.window
		size := max(1, min(t.window/8, 20_000))
		for s.given < 3*t.window {
			for s.ours < min(size, max(1, t.window/2)) {
				s.take()
				s.grant(max(0, 500_000-s.free))
			}
			s.give(size)
			s.ours -= size
		}
		for s.taken < s.given {
			s.take()
			s.grant(max(0, 500_000-s.free))
		}
		s.end()
	}},
	{"credit-overrun", "9",
		"A sender that goes on when its window is used up loses the stream, and only that.",
		"credit stream", func(t *T) {
			if t.window > 4<<20 {
				t.skip("the peer's window is larger than 4 MiB")
			}
			c := t.sayHello(`"credit":100,"error":1`)
			c.send(note("gotalk:credit", "p????00000001")) // so that it knows that its hello has come
			s := c.window(100)
			const size = 32 << 10
			var parts []sent
			for range 8*t.window/size + 4 {
				parts = append(parts, part('p', s.id, quoted(1, size)))
			}
			s.give(size)
			t.meanwhile(func() { c.send(parts...) })
			want := "an error result for the stream"
			m := c.next(want)
			for m.is("S", s.id) && m.payload != "" {
				m = c.next(want)
			}
			if !m.is("E", s.id) {
				c.unexpected(want, m)
			}
			if code := errorCode(m.payload); code != "" && code != "resource_exhausted" {
				c.unexpected("the code resource_exhausted", m)
			}
			c.inStep()
		}},
	{"credit-of-nothing", "9",
		"Credit for what is over, or never was, is dropped. Its digits are of either case.",
		"credit", func(t *T) {
			c := t.sayHello(`"credit":1000`)
			c.send(note("gotalk:credit", "S????0000000a"), note("gotalk:credit", "p????0000000A"),
				note("gotalk:credit", "S\x00\x00\x00\x00ffffffff"))
			c.inStep()
		}},
	{"credit-malformed", "9",
		"Credit that is not a type, an id and a number is answered with protocol error 2.",
		"credit", func(t *T) {
			for _, payload := range []string{"", "S0001", "S00010000000", "S0001zzzzzzzz",
				"S0001+000000a", "S00010000000a0", "x00010000000a"} {
				c := t.sayHello(`"credit":1000`)
				c.send(note("gotalk:credit", payload))
				c.wantEnd(2)
			}
		}},
}

// windowed is a stream whose result the peer may only send within a window.
type windowed struct {
	c            *conn
	id           string
	size, free   int // of the window that we grant
	ours         int // that the peer grants
	given, taken int // bytes
	others       *windowed
}

func (c *conn) window(size int) *windowed {
	return &windowed{c: c, id: c.newID(), size: size, free: size}
}

// give sends n more bytes of the input.
func (s *windowed) give(n int) {
	payload := quoted(s.given, n)
	if s.given == 0 {
		s.c.send(request('s', s.id, s.c.t.op("stream"), payload))
	} else {
		s.c.send(part('p', s.id, payload))
	}
	s.given += n
}

// grant gives credit for n bytes.
func (s *windowed) grant(n int) {
	if n > 0 {
		s.free += n
		s.c.send(note("gotalk:credit", fmt.Sprintf("S%s%08x", s.id, n)))
	}
}

// take reads a part of the result, or credit.
func (s *windowed) take() {
	const want = "parts of the stream's result, or credit for it"
	m := s.c.next1(want)
	if m.typ == 'n' {
		s.credit(m)
		return
	}
	if s.others != nil && m.is("S", s.others.id) {
		s.others.count(m)
		return
	}
	s.count(m)
}

func (s *windowed) count(m message) {
	n := len(m.payload)
	switch {
	case !m.is("S", s.id) || n == 0 || s.taken+n > s.given:
		s.c.unexpected("parts of the stream's result", m)
	case s.free < min(n, (s.size+1)/2):
		s.c.unexpected(fmt.Sprintf("no more than fits into a window of %d bytes, of which %d are free", s.size, max(0, s.free)), m)
	}
	s.free -= n
	s.taken += n
}

// credit takes what the peer grants.
func (s *windowed) credit(m message) {
	if m.name != "gotalk:credit" {
		return
	}
	n, err := strconv.ParseUint(strings.ToLower(m.payload[min(5, len(m.payload)):]), 16, 32)
	if len(m.payload) != 13 || err != nil || m.payload[0] != 'p' && m.payload[0] != 'S' {
		s.c.unexpected("credit: p or S, a request id, and eight digits", m)
	}
	if m.payload[:5] == "p"+s.id {
		s.ours += int(n)
	}
}

// next1 is next that does not pass over notifications with reserved names.
func (c *conn) next1(want string) message {
	for {
		m, ok := c.read(want)
		switch {
		case !ok:
			c.t.fail(classClosed, want, "%s", c.ended)
		case m.typ == 'h':
			c.heartbeats = append(c.heartbeats, m)
		default:
			return m
		}
	}
}

// stillAnswersBeside checks that a request is answered while s goes on.
func (c *conn) stillAnswersBeside(s *windowed) {
	id := c.echo(hello)
	for {
		m := c.next("the answer to request " + id)
		if m.is("REe", id) {
			return
		}
		s.count(m)
	}
}

// end ends the stream.
func (s *windowed) end() {
	s.c.send(part('p', s.id, ""))
	for {
		want := "the end of the result, " + part('S', s.id, "").String()
		m := s.c.next(want)
		switch {
		case s.others != nil && m.is("S", s.others.id):
			s.others.count(m)
		case m.is("S", s.id) && m.payload == "":
			if s.others == nil {
				s.c.inStep()
			}
			return
		default:
			s.c.unexpected(want, m)
		}
	}
}
