package conform

var noteChecks = []check{
	{"notification-unknown", "4", "A notification is never answered, and dropped when nobody handles it.", "", func(t *T) {
		c := t.connect()
		c.send(note("conform/unknown", hello))
		c.stillAnswers("")
		c.send(note("conform/unknown", ""), note("conform/unknown", quoted(1, 70_000)), note("größe", "\x00\xff"))
		c.inStep()
	}},
	{"notification-empty-name", "2", "The name of a notification may be empty: its size is sent as 000.", "", func(t *T) {
		c := t.connect()
		c.send(note("", hello))
		c.stillAnswers("")
		c.send(note("", ""))
		c.inStep()
	}},
	{"notification", "4", "A notification reaches its handler, once, with its payload.", "ping", func(t *T) {
		c := t.connect()
		for _, payload := range []string{hello, quoted(1, 1000)} {
			c.send(note(t.op("ping"), payload))
			c.wantPong(payload)
		}
		c.inStep()
	}},
	{"notification-order", "4", "Notifications are handled in the order in which they came.", "ping", func(t *T) {
		c := t.connect()
		var pings []sent
		for i := range 30 {
			pings = append(pings, note(t.op("ping"), quoted(i, 10+i)))
		}
		c.send(pings...)
		for i := range pings {
			c.wantPong(quoted(i, 10+i))
		}
		c.inStep()
	}},
}

// wantPong reads what the peer sends when it gets the notification ping.
func (c *conn) wantPong(payload string) {
	want := escape(note(c.t.op("pong"), payload).String())
	if m := c.next(want); m.typ != 'n' || m.name != c.t.op("pong") || m.payload != payload {
		c.unexpected(want, m)
	}
}
