package conform

import (
	"fmt"
	"net/http"
	"strings"
)

var webSocketChecks = []check{
	{"websocket-upgrade", "10",
		"The upgrade is answered as WebSockets are: with 101, the accept key, and no extensions.",
		"websocket", func(t *T) {
			c, r := t.upgrade(t.origin(), http.Header{"Sec-Websocket-Extensions": {"permessage-deflate"}})
			switch {
			case r.StatusCode != 101:
				t.fail(classWrong, "status 101", "%s", r.Status)
			case r.Header.Get("Sec-WebSocket-Accept") != acceptKey():
				t.fail(classWrong, "Sec-WebSocket-Accept: "+acceptKey(), "%q", r.Header.Get("Sec-WebSocket-Accept"))
			case r.Header.Get("Sec-WebSocket-Extensions") != "" || r.Header.Get("Sec-WebSocket-Protocol") != "":
				t.fail(classWrong, "no extensions, and no subprotocol as none was offered", "%v", r.Header)
			}
			c.begin()
			c.send(sent{header: version})
			c.wantVersion()
			c.inStep()
		}},
	{"websocket-subprotocols", "10", "A server that is offered subprotocols picks the first.", "websocket", func(t *T) {
		_, r := t.upgrade(t.origin(), http.Header{"Sec-Websocket-Protocol": {"first, second"}})
		if r.StatusCode != 101 {
			t.fail(classWrong, "status 101", "%s", r.Status)
		}
		if got := r.Header.Get("Sec-WebSocket-Protocol"); got != "first" {
			t.warn("the subprotocol is %q, and should be the first of those offered", got)
		}
	}},
	{"websocket-origin", "10",
		"Pages of other sites may not connect, unless the server was told so.",
		"websocket", func(t *T) {
			if _, r := t.upgrade("http://conformance.invalid", nil); r.StatusCode == 101 {
				t.fail(classWrong, "a refusal, such as status 403", "%s", r.Status)
			}
		}},
	{"websocket-messages", "10",
		"Without hello the version, each header and each payload that is not empty are WebSocket messages of their own.",
		"websocket", func(t *T) {
			c := t.connect()
			if t.offers["any"] {
				c.wantResult(c.echo(""), "")
			}
			for _, n := range []int{5, 126, 70_000} {
				c.wantAnswer(c.echo(quoted(n, n)))
			}
			requests, payloads := c.echoes(30, 10)
			c.send(requests...)
			if t.offers["echo"] {
				c.wantAnswers(payloads)
			}
			c.send(request('r', "none", unknownName, hello), heartbeat(0, 0))
			for range requests {
				if m := c.next("an answer"); m.is("E", "none") {
					break
				}
			}
			c.inStep()
			if c.framing != "" {
				t.fail(classWrong, "WebSocket messages of their own", "%s", c.framing)
			}
		}},
	{"websocket-boundaries", "10",
		"A receiver does not care where WebSocket messages begin and end.",
		"websocket", func(t *T) {
			c := t.connect()
			r := c.echoRequest("0000", hello).String()
			for _, size := range []int{1, 2, 3, 5, 13, 18} {
				for rest := r; rest != ""; rest = rest[min(size, len(rest)):] {
					c.sendText(rest[:min(size, len(rest))])
				}
				c.wantAnswer("0000")
			}
			c.inStep()
		}},
	{"websocket-joined-messages", "10", "One WebSocket message may have several messages.", "websocket echo", func(t *T) {
		c := t.connect()
		requests, payloads := c.echoes(20, 3)
		var all strings.Builder
		for _, m := range requests {
			all.WriteString(m.String())
		}
		c.sendText(all.String())
		c.wantAnswers(payloads)
		c.inStep()
	}},
	{"websocket-empty-messages", "10", "An empty WebSocket message counts for nothing.", "websocket", func(t *T) {
		c := t.connect()
		m := c.echoRequest("0000", hello)
		empty := []frame{{first: finBit | opBinary}, {first: finBit | opText}}
		c.sendFrames(empty...)
		c.sendFrames(binaryFrame(m.header), empty[0], empty[1], binaryFrame(m.payload), empty[0])
		c.wantAnswer("0000")
		c.inStep()
	}},
	{"websocket-text", "10", "Text messages are as good as binary ones.", "websocket", func(t *T) {
		c := t.dial()
		asText := func(s string) frame { return frame{first: finBit | opText, payload: s} }
		m := c.echoRequest("0000", hello)
		c.sendFrames(asText(version), asText(m.header), asText(m.payload), binaryFrame(m.header), asText(m.payload))
		c.wantVersion()
		c.wantAnswer("0000")
		c.wantAnswer("0000")
		c.inStep()
	}},
	{"websocket-fragments", "10",
		"A WebSocket message may come in fragments, with control frames between them.",
		"websocket", func(t *T) {
			c := t.connect()
			r := c.echoRequest("0000", hello).String()
			c.sendFrames(frame{first: opBinary, payload: r[:3]}, frame{first: opContinue, payload: r[3:10]},
				frame{first: finBit | opPing, payload: "between"},
				frame{first: opContinue}, frame{first: finBit | opPong}, frame{first: finBit | opContinue, payload: r[10:]})
			c.wantAnswer("0000")
			c.wantPongs("between")
			c.inStep()
		}},
	{"websocket-ping", "10",
		"A ping is answered with a pong that has its payload; a pong is not.",
		"websocket", func(t *T) {
			c := t.connect()
			for _, payload := range []string{"", "ping", strings.Repeat("p", 125)} {
				c.sendFrames(frame{first: finBit | opPing, payload: payload})
				c.stillAnswers("")
				c.wantPongs(payload)
			}
			c.sendFrames(frame{first: finBit | opPong, payload: "unasked"})
			c.inStep()
			c.wantPongs()
		}},
	{"websocket-close", "10",
		"A close frame is answered with one, and then the connection ends.",
		"websocket", func(t *T) {
			for _, payload := range []string{"\x03\xe8", "", "\x0f\xa2", "\x03\xe9going away"} {
				c := t.connect()
				c.stillAnswers("")
				c.sendFrames(frame{first: finBit | opClose, payload: payload})
				c.wantEnd(-1)
				if c.closeCode == 0 {
					t.fail(classWrong, "a close frame, and then the end", "the end")
				}
			}
		}},
	{"websocket-protocol-error", "10",
		"Behind a protocol error a close frame follows, with code 1000 or 4000 + the error's.",
		"websocket", func(t *T) {
			c := t.connect()
			c.sendText("x000100000000")
			c.wantEnd(2)
			if c.closeCode != 1000 && c.closeCode != 4002 {
				t.fail(classWrong, "a close frame with code 1000 or 4002", "code %d (0 is none at all)", c.closeCode)
			}
		}},
	{"websocket-mask", "10", "A frame of a client's that has no mask ends the connection.", "websocket", func(t *T) {
		t.badFrames(frame{first: finBit | opBinary, payload: "h", naked: true})
	}},
	{"websocket-reserved-bits", "10", "So does one with reserved bits.", "websocket", func(t *T) {
		for _, bit := range []byte{0x40, 0x20, 0x10} {
			t.badFrames(frame{first: finBit | bit | opBinary, payload: "h"})
		}
	}},
	{"websocket-opcodes", "10", "So does one with a reserved opcode.", "websocket", func(t *T) {
		t.badFrames(frame{first: finBit | 3, payload: "h"})
		t.badFrames(frame{first: finBit | 11, payload: "h"})
	}},
	{"websocket-control-size", "10",
		"So does a control frame that is fragmented, or longer than 125 bytes.",
		"websocket", func(t *T) {
			t.badFrames(frame{first: finBit | opPing, payload: strings.Repeat("p", 126)})
			t.badFrames(frame{first: opPing, payload: "p"})
		}},
	{"websocket-continuation", "10",
		"So does a frame that continues no message, or a message that begins within another.",
		"websocket", func(t *T) {
			t.badFrames(frame{first: finBit | opContinue, payload: "h"})
			t.badFrames(frame{first: opBinary, payload: "h"}, frame{first: finBit | opBinary, payload: "0000"})
		}},
	{"websocket-no-retry", "10",
		"Who has not said hello on a WebSocket gets E instead of e, which old JavaScript clients cannot take.",
		"websocket wait", func(t *T) {
			c := t.connect()
			for i := range 300 {
				c.send(request('r', fmt.Sprintf("w%03d", i), t.op("wait"), hello))
			}
			for {
				m, more := c.soon(4*t.options.Quiet, "E, or nothing")
				if !more {
					return
				}
				if m.typ != 'E' {
					c.unexpected("E, or nothing", m)
				}
			}
		}},
	{"websocket-join", "10",
		"With join in both hellos, messages may share WebSocket messages both ways.",
		"websocket join echo", func(t *T) {
			c := t.sayHello(`"join":1`)
			requests, payloads := c.echoes(50, 20)
			var all strings.Builder
			for _, m := range requests {
				all.WriteString(m.String())
			}
			c.sendText(all.String())
			c.wantAnswers(payloads)
			c.inStep()
		}},
	{"websocket-hello-without-join", "10",
		"A hello without join changes nothing about WebSocket messages.",
		"websocket hello echo", func(t *T) {
			c := t.sayHello(allKeys)
			requests, payloads := c.echoes(50, 20)
			c.send(requests...)
			c.wantAnswers(payloads)
			c.inStep()
			if c.framing != "" {
				t.fail(classWrong, "WebSocket messages of their own", "%s", c.framing)
			}
		}},
}

// upgrade asks for a WebSocket, from a page of that origin.
func (t *T) upgrade(origin string, more http.Header) (*conn, *http.Response) {
	c := t.dialRaw()
	request := t.address.upgradeRequest(origin, more)
	c.log('>', request)
	fmt.Fprint(c.nc, request)
	r, err := readUpgrade(c.br)
	if err != nil {
		c.broken("an answer to the upgrade request", err)
	}
	c.log('<', r.Proto+" "+r.Status)
	return c, r
}

// wantPongs checks which pongs have come, or come soon.
func (c *conn) wantPongs(payloads ...string) {
	for len(c.pongs) < len(payloads) && c.waits(4*c.t.options.Quiet) {
		c.unsolicited("a pong")
	}
	if fmt.Sprint(c.pongs) != fmt.Sprint(payloads) {
		c.t.fail(classWrong, fmt.Sprintf("pongs %q", payloads), "pongs %q", c.pongs)
	}
	c.pongs = nil
}

// badFrames sends, on a connection of its own, what WebSockets do not allow.
func (t *T) badFrames(frames ...frame) {
	c := t.connect()
	c.sendFrames(frames...)
	want := "the end of the connection"
	for {
		if m, ok := c.maybe(want); !ok {
			break
		} else if m.typ != 'f' {
			c.unexpected(want, m)
		}
	}
	c.nc.Close()
}
