package conform

import (
	"fmt"
	"time"
)

var manyChecks = []check{
	{"pipelined", "4", "Many requests in one write are each answered exactly once.", "echo", func(t *T) {
		c := t.connect()
		requests, payloads := c.echoes(50, 1)
		c.send(requests...)
		c.wantAnswers(payloads)
		c.inStep()
	}},
	{"in-flight", "4",
		"Many requests under way, of many sizes, are each answered exactly once with what is theirs.",
		"echo", func(t *T) {
			c := t.connect()
			requests, payloads := c.echoes(500, 40)
			t.meanwhile(func() {
				for _, m := range requests {
					c.send(m)
				}
			})
			c.wantAnswers(payloads)
			c.inStep()
		}},
	{"two-connections", "3", "Connections have ids of their own.", "echo", func(t *T) {
		a, b := t.connect(), t.connect()
		for i := range 5 {
			a.send(a.echoRequest("same", quoted(i, 8)))
			b.send(b.echoRequest("same", quoted(i+9, 9)))
			b.wantResult("same", quoted(i+9, 9))
			a.wantResult("same", quoted(i, 8))
		}
		a.inStep()
		b.inStep()
	}},
	{"slow-request", "4", "A request that takes long does not hold up others.", "wait", func(t *T) {
		c := t.connect()
		for i := range 8 {
			c.send(request('r', fmt.Sprintf("w%03d", i), t.op("wait"), hello))
		}
		c.stillAnswers("")
		c.inStep()
	}},
	{"retry-result", "4",
		"A request for which there is no room is answered with e: how long to wait, and why.",
		"wait", func(t *T) {
			c := t.connect()
			waiting := map[string]bool{}
			for i := range 300 {
				id := fmt.Sprintf("w%03d", i)
				waiting[id] = true
				c.send(request('r', id, t.op("wait"), hello))
			}
			refused, last := 0, c.echo(hello)                // refusals come before its answer, or soon after
			patience := max(20*t.options.Quiet, time.Second) // one request at a time is found elsewhere
			for {
				m, more := c.soon(patience, "e, or nothing")
				if !more {
					break
				}
				if m.is("REe", last) {
					patience = 4 * t.options.Quiet
					continue
				}
				switch {
				case m.is("E", m.id) && waiting[m.id] && c.ws != nil: // as e would close the connection of an old JavaScript client
				case !m.is("e", m.id) || !waiting[m.id]:
					c.unexpected("e, once for a request, or nothing", m)
				case m.number > 10*60*1000:
					c.unexpected("a time to wait that is not absurd", m)
				}
				delete(waiting, m.id)
				refused++
			}
			if refused == 0 {
				t.skip("the peer had room for 300 requests at once")
			}
		}},
}

// echoes makes n requests with payloads of different sizes, in steps of that many bytes.
func (c *conn) echoes(n, step int) (requests []sent, payloads map[string]string) {
	payloads = map[string]string{}
	for i := range n {
		id := fmt.Sprintf("m%03d", i)
		payloads[id] = quoted(i, 8+i*step)
		requests = append(requests, c.echoRequest(id, payloads[id]))
	}
	return requests, payloads
}
