package conform

import "time"

var handshakeChecks = []check{
	{"version", "1", "A peer sends its version, 01, before anything else.", "", func(t *T) {
		t.connect().inStep()
	}},
	{"version-unasked", "1", "A peer does not wait for the other's version before it sends its own.", "", func(t *T) {
		c := t.dial()
		waited := !c.waits(max(10*t.options.Quiet, 200*time.Millisecond))
		if waited {
			t.warn("it waits for the other's version: two such peers would wait for ever")
		}
		c.send(sent{header: version})
		c.wantVersion()
		c.inStep()
	}},
	{"version-pipelined", "1", "Messages may come right behind the version, in the same write.", "", func(t *T) {
		c := t.dial()
		c.sendText(version + c.echoRequest("0000", hello).String())
		c.wantVersion()
		c.wantAnswer("0000")
		c.inStep()
	}},
	{"version-in-pieces", "1", "The version may come in pieces.", "", func(t *T) {
		c := t.dial()
		for _, digit := range version {
			c.sendText(string(digit))
			t.pause(t.options.Quiet / 5)
		}
		c.wantVersion()
		c.inStep()
	}},
	{"version-unsupported", "6", "A version other than 01 is answered with protocol error 1.", "", func(t *T) {
		c := t.dial()
		c.sendText("02")
		c.endAfterVersion(1)
	}},
	{"version-garbage", "6", "What is no version is answered with protocol error 1.", "", func(t *T) {
		c := t.dial()
		c.sendText("r0")
		c.endAfterVersion(1)
	}},
}

// endAfterVersion is wantEnd for a peer that may, but need not, have sent its version before it saw that ours is wrong.
func (c *conn) endAfterVersion(code int) {
	if !c.waits(time.Until(c.t.deadline)) {
		c.wantEnd(code)
	}
	if b, _ := c.br.Peek(1); c.ws != nil || len(b) > 0 && b[0] == version[0] {
		c.wantVersion()
	}
	c.wantEnd(code)
}
