package conform

import (
	"fmt"
	"strings"
)

var requestChecks = []check{
	{"request", "2", "A single request is answered by a single result that has its id.", "echo", func(t *T) {
		c := t.connect()
		c.wantResult(c.echo(hello), hello)
		c.inStep()
	}},
	{"request-ids", "3", "An id is any four bytes, and comes back as it was.", "echo", func(t *T) {
		c := t.connect()
		for _, id := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x80\x00\x01\x7f", "\r\n\x00 ", "R000",
			"grö", "\xc3\x28\xa0\xa1", "zzzz", "!000", "ABCD", "%s%d", "\"\\'`"} {
			c.send(c.echoRequest(id, hello))
			c.wantResult(id, hello)
		}
		c.inStep()
	}},
	{"request-id-again", "3", "An id may be used again when its request is over.", "echo", func(t *T) {
		c := t.connect()
		for i := range 5 {
			c.send(c.echoRequest("same", quoted(i, 5+i)))
			c.wantResult("same", quoted(i, 5+i))
		}
		c.inStep()
	}},
	{"payload-empty", "2", "A payload may be empty.", "any", func(t *T) {
		c := t.connect()
		for range 2 {
			c.wantResult(c.echo(""), "")
		}
		c.wantResult(c.echo(hello), hello)
		c.inStep()
	}},
	{"payload-binary", "2", "A payload is any bytes, and what looks like a message in it is none.", "any", func(t *T) {
		var all strings.Builder
		for b := range 256 {
			all.WriteByte(byte(b))
		}
		c := t.connect()
		for _, payload := range []string{all.String(), "\x00", "\r\n", "\xff\xfe\x00\x80", "R000000000005hello",
			"f00000002", "01", strings.Repeat("\x00", 300)} {
			c.wantResult(c.echo(payload), payload)
		}
		c.inStep()
	}},
	{"payload-utf8", "2", "Sizes are in bytes, not in characters.", "echo", func(t *T) {
		c := t.connect()
		const payload = `"größe ☃ 😀"`
		c.wantResult(c.echo(payload), payload)
		c.inStep()
	}},
	{"payload-sizes", "2", "Payloads of all sizes come back whole.", "echo", func(t *T) {
		c := t.connect()
		for _, n := range []int{2, 10, 15, 16, 125, 126, 255, 256, 4095, 4096, 65535, 65536} {
			c.wantResult(c.echo(quoted(n, n)), quoted(n, n))
		}
		c.inStep()
	}},
	{"payload-70000", "2", "A payload of 70,000 bytes comes back whole.", "echo", func(t *T) { t.echoLarge(70_000) }},
	{"payload-1mb", "2",
		"A payload of a mebibyte comes back whole, if the peer takes as much.",
		"echo", func(t *T) { t.echoLarge(1 << 20) }},
	{"lower-case", "2", "A peer sends the digits of numbers in lower case.", "echo", func(t *T) {
		c := t.connect()
		for _, n := range []int{0xab, 0xcdef, 10} {
			c.wantAnswer(c.echo(quoted(n, n)))
		}
		c.send(heartbeat(0xabcd, 0x5feeabcd))
		c.inStep()
		if c.upper != nil {
			c.unexpected("digits in lower case", *c.upper)
		}
	}},
	{"upper-case", "2", "A peer accepts digits in upper case.", "", func(t *T) {
		c := t.connect()
		upper := func(m sent, name string) sent {
			return sent{m.header[:5] + strings.ToUpper(m.header[5:8]) + name + strings.ToUpper(m.header[8+len(name):]), m.payload}
		}
		m := request('r', "0000", t.op("echo"), quoted(1, 0xab))
		c.send(upper(m, t.op("echo")))
		if m := c.wantAnswer("0000"); m.typ == 'R' && m.payload != quoted(1, 0xab) {
			c.unexpected("the payload as it was", m)
		}
		c.send(upper(request('r', "0001", "conform/a", quoted(2, 0xcdef)), "conform/a"))
		c.wantAnswer("0001")
		c.send(upper(request('r', "0002", unknownName, hello), unknownName))
		c.wantAnswer("0002")
		c.inStep()
	}},
	{"one-byte-at-a-time", "1", "Messages may come in pieces of any size.", "echo", func(t *T) {
		c := t.connect()
		for _, b := range []byte(c.echoRequest("slow", hello).String()) {
			c.sendText(string([]byte{b}))
			t.pause(t.options.Quiet / 50)
		}
		c.wantResult("slow", hello)
		c.inStep()
	}},
	{"cut-anywhere", "1", "A piece may have the end of a message and the beginning of the next.", "echo", func(t *T) {
		c := t.connect()
		all := c.echoRequest("one.", quoted(1, 30)).String() + c.echoRequest("two.", quoted(2, 40)).String()
		for _, cut := range []int{1, 3, 6, 10, 18, 30, 47, 51, 54, 58, 67, 90} {
			c.sendText(all[:cut])
			t.pause(t.options.Quiet / 10)
			c.sendText(all[cut:])
			c.wantAnswers(map[string]string{"one.": quoted(1, 30), "two.": quoted(2, 40)})
		}
		c.inStep()
	}},
	{"operation-unknown", "4",
		"A request for an unknown operation is answered with E, and its payload passed over.",
		"", func(t *T) {
			c := t.connect()
			for i, payload := range []string{hello, "", quoted(0, 70_000)} {
				name := fmt.Sprint("conform/none", i)
				id := c.newID()
				c.send(request('r', id, name, payload))
				said := c.wantError(id)
				if said != `unknown operation "`+name+`"` && said != `no such operation "`+name+`"` {
					t.warn(`the text is %q, where programs may look for: unknown operation "%s"`, escape(said), name)
				}
			}
			c.inStep()
		}},
	{"name-utf8", "2", "Names are UTF-8, and their sizes in bytes.", "", func(t *T) {
		c := t.connect()
		c.send(request('r', "0000", "conform/größe/☃", hello))
		c.wantError("0000")
		c.inStep()
	}},
	{"name-4095", "2", "A name may have 4095 bytes.", "", func(t *T) {
		c := t.connect()
		c.send(request('r', "long", strings.Repeat("n", 4095), hello))
		c.wantError("long")
		c.inStep()
	}},
	{"name-empty", "2", "A name may be empty: its size is sent as 000.", "", func(t *T) {
		c := t.connect()
		c.send(request('r', "none", "", hello))
		c.wantAnswer("none")
		c.inStep()
	}},
	{"name-any", "2", "A name that looks like code or a path is just a name.", "", func(t *T) {
		c := t.connect()
		for i, name := range []string{"constructor", "__proto__", "toString", "\x00", "../../etc/passwd", "%s%n", "\"\n", "0000"} {
			id := fmt.Sprintf("n%03d", i)
			c.send(request('r', id, name, hello))
			if m := c.wantAnswer(id); m.typ == 'R' {
				c.unexpected("E", m)
			}
		}
		c.inStep()
	}},
	{"error-result", "4", "A request that fails is answered with E, and the connection goes on.", "fail", func(t *T) {
		c := t.connect()
		for _, payload := range []string{hello, "", hello} {
			id := c.newID()
			c.send(request('r', id, t.op("fail"), payload))
			c.wantError(id)
		}
		c.inStep()
	}},
	{"error-characters-as-bytes", "2", "The size of an error's text is in bytes too.", "", func(t *T) {
		c := t.connect()
		c.send(request('r', "0000", "conform/😀", hello))
		c.wantError("0000")
		c.inStep()
	}},
	{"results-nobody-waits-for", "5", "Results with an unknown id are dropped.", "", func(t *T) {
		c := t.connect()
		for _, m := range []sent{part('R', "????", hello), part('R', "0000", ""), part('E', "????", "text"),
			part('S', "????", "part"), part('S', "????", ""), retry("????", 10, "text")} {
			c.send(m)
			c.stillAnswers("")
		}
		c.inStep()
	}},
}

// echoLarge has a payload of n bytes echoed. It sends while it reads.
func (t *T) echoLarge(n int) {
	c := t.connect()
	payload := quoted(3, n)
	t.meanwhile(func() { c.send(c.echoRequest("big.", payload)) })
	m := c.next("the payload back")
	switch {
	case m.is("E", "big.") && n > 100_000:
		c.inStep() // which is what a peer with a smaller limit does
		t.skip(fmt.Sprintf("the peer does not take %d bytes: %s", n, escape(m.payload)))
	case !m.is("R", "big.") || m.payload != payload:
		c.unexpected(escape(part('R', "big.", payload).String()), m)
	}
	c.inStep()
}
