package conform

import (
	"fmt"
	"time"
)

var heartbeatChecks = []check{
	{"heartbeat-accepted", "7", "A heartbeat of any load and time disturbs nothing.", "", func(t *T) {
		c := t.connect()
		c.send(heartbeat(0, 0), heartbeat(0xffff, 0xffffffff), heartbeat(1, 0x5fee6600), heartbeat(0x8000, 0x80000000))
		c.inStep()
	}},
	{"heartbeat-answered", "7", "The accepting side answers each heartbeat with one of its own.", "", func(t *T) {
		c := t.connect()
		for i := range 3 {
			before := len(c.heartbeats)
			c.send(heartbeat(uint16(i), 0x5fee6600))
			c.stillAnswers("")
			for len(c.heartbeats) == before && c.waits(4*t.options.Quiet) {
				c.unsolicited("a heartbeat in answer")
			}
			if n := len(c.heartbeats) - before; n != 1 {
				t.fail(classWrong, "a heartbeat in answer, h and twelve digits", "%d, but for the answer to a request", n)
			}
		}
		c.wantQuiet()
		if n := len(c.heartbeats); n != 3 {
			t.fail(classWrong, "as many heartbeats as were sent, 3", "%d", n)
		}
	}},
	{"heartbeat-in-pieces", "1", "A heartbeat may come in pieces, and right before other messages.", "", func(t *T) {
		c := t.connect()
		h := heartbeat(0x1234, 0x5fee6600).String()
		c.sendText(h[:4])
		t.pause(t.options.Quiet / 5)
		c.sendText(h[4:] + c.echoRequest("0000", hello).String())
		c.wantAnswer("0000")
		c.inStep()
	}},
}

var limitChecks = []check{
	{"size-claimed", "8", "A size that is claimed and never sent harms no other connection.", "", func(t *T) {
		other := t.connect()
		for range 4 {
			echo := fmt.Sprintf("%03x%s", len(t.op("echo")), t.op("echo"))
			for _, header := range []string{"r0001" + echo, "s0001" + echo, "n" + echo, "R0001", "r0001004none"} {
				c := t.connect()
				c.sendText(header + "ffffffffsome")
			}
		}
		other.stillAnswers("")
		t.connect().inStep()
	}},
	{"half-messages", "8", "A connection that ends in the middle of a message harms no other.", "", func(t *T) {
		other := t.connect()
		whole := version + request('r', "half", t.op("echo"), hello).String()
		for n := range len(whole) {
			c := t.dial()
			c.sendText(whole[:n])
			c.close()
		}
		other.stillAnswers("")
		t.connect().inStep()
	}},
	{"closed-with-requests", "8",
		"A connection that ends, or breaks, while requests are under way harms no other.",
		"", func(t *T) {
			other := t.connect()
			for i := range 6 {
				c := t.connect()
				requests, _ := c.echoes(20, 500)
				c.send(requests...)
				c.send(request('r', "wait", t.op("wait"), hello))
				if nc := c.tcp(); nc != nil && i%2 == 0 {
					nc.SetLinger(0) // breaks it
				}
				c.close()
			}
			other.stillAnswers("")
			t.connect().inStep()
		}},
	{"many-connections", "8",
		"A peer serves many connections at once, and silent ones hold up no others.",
		"", func(t *T) {
			for range 10 {
				t.dialRaw()
			}
			var all []*conn
			for range 20 {
				all = append(all, t.connect())
			}
			for _, c := range all {
				c.stillAnswers("")
			}
		}},
	{"results-not-read", "8", "A connection whose results nobody reads holds up no other.", "echo", func(t *T) {
		c, other := t.connect(), t.connect()
		t.meanwhile(func() {
			for i := range 400 {
				c.send(c.echoRequest(fmt.Sprintf("u%03d", i), quoted(i, 60_000)))
			}
		})
		for range 5 {
			t.pause(t.options.Quiet / 2)
			other.stillAnswers("")
		}
		t.connect().stillAnswers("")
		c.close()
		other.inStep()
	}},
	{"idle", "7", "A connection on which nothing comes for a moment stays open.", "", func(t *T) {
		c := t.connect()
		t.pause(min(20*t.options.Quiet, time.Second))
		c.inStep()
	}},
}
