package conform

var errorChecks = []check{
	{"type-unknown", "6", "A message of an unknown type is answered with protocol error 2.", "", func(t *T) {
		for _, typ := range []string{"x", "Z", "\n", "\x00", "H", "N", "F", "P", "0", "\xff"} {
			t.malformed(typ + "000100000000")
		}
	}},
	{"size-not-hexadecimal", "6", "A size that is not hexadecimal is answered with protocol error 2.", "", func(t *T) {
		t.malformed("r0001004echo0000zero")
		t.malformed("n004note00000g00")
		t.malformed("s0001004echo        ")
		t.malformed("n004note\x00\x00\x00\x00\x00\x00\x00\x05")
	}},
	{"size-lookalikes", "6", "Signs, prefixes, blanks and underscores are no digits.", "", func(t *T) {
		for _, size := range []string{"+0000005", "-0000005", "0x000005", "       5",
			"0000_005", "5       ", "00000:00", "0000000\n"} {
			t.malformed("r0001004echo" + size)
		}
	}},
	{"name-size-not-hex", "6",
		"The size of a name that is not hexadecimal is answered with protocol error 2.",
		"", func(t *T) {
			t.malformed("r0001xyzecho00000000")
			t.malformed("n-04note00000000")
		}},
	{"result-size-not-hex", "6", "So is that of a result.", "", func(t *T) {
		t.malformed("R0001zzzzzzzz")
		t.malformed("E0001  000000")
		t.malformed("h00zz5fee6600")
	}},
	{"protocol-error-taken", "6",
		"Who gets a protocol error closes the connection and sends nothing more. Its message has nine bytes.",
		"", func(t *T) {
			c := t.connect()
			c.stillAnswers("")
			c.send(protocolError(0))
			c.wantEnd(-1)
		}},
	{"protocol-error-other-codes", "6",
		"A protocol error with a code that is not known closes the connection too.",
		"", func(t *T) {
			for _, code := range []int{2, 9, 1000, 0x80000000, 0xffffffff} {
				c := t.connect()
				c.send(protocolError(code), sent{header: "n004"})
				c.wantEnd(-1)
			}
		}},
	{"protocol-error-with-requests", "6", "It closes it while requests are under way, too.", "wait", func(t *T) {
		c := t.connect()
		c.send(request('r', "0000", t.op("wait"), hello))
		c.stillAnswers("")
		c.send(protocolError(2), sent{header: "n004"})
		c.wantEnd(-1)
	}},
	{"errors-of-others", "6", "What is wrong about one connection ends no other.", "", func(t *T) {
		other := t.connect()
		for _, wrong := range []string{"x000100000000", "r0001004echo0000zero", "p000100000000", "f00000002", "r\x00"} {
			c := t.connect()
			c.sendText(wrong)
			c.close()
			other.stillAnswers("")
		}
		other.inStep()
	}},
}

// malformed sends on a connection of its own what must be answered with protocol error 2.
func (t *T) malformed(wrong string) {
	c := t.connect()
	c.sendText(wrong)
	c.wantEnd(2)
	c.nc.Close()
}
