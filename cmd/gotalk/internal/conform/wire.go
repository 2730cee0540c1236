package conform

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file writes and reads the wire by itself: the library's own code would see its own mistakes nowhere.

const version = "01"

// sent is a message that we send. On a WebSocket header and payload are messages of their own.
type sent struct{ header, payload string }

func (s sent) String() string { return s.header + s.payload }

// request makes a request of type r or s.
func request(typ byte, id, op, payload string) sent {
	return sent{fmt.Sprintf("%c%s%03x%s%08x", typ, id, len(op), op, len(payload)), payload}
}

// part makes a message of type R, E, p or S.
func part(typ byte, id, payload string) sent {
	return sent{fmt.Sprintf("%c%s%08x", typ, id, len(payload)), payload}
}

func retry(id string, wait int, reason string) sent {
	return sent{fmt.Sprintf("e%s%08x%08x", id, wait, len(reason)), reason}
}

func note(name, payload string) sent {
	return sent{fmt.Sprintf("n%03x%s%08x", len(name), name, len(payload)), payload}
}

func heartbeat(load uint16, unix uint32) sent {
	return sent{header: fmt.Sprintf("h%04x%08x", load, unix)}
}

func protocolError(code int) sent { return sent{header: fmt.Sprintf("f%08x", code)} }

// message is a message that has come.
type message struct {
	typ     byte
	id      string // of all but n, h and f
	name    string // of r, s and n
	number  uint32 // what e asks to wait, the time of h, the code of f
	load    uint32 // of h
	payload string
	upper   bool // it has digits in upper case
}

// maxPayload is more than any check makes a peer send. A size that claims more is not waited for.
const maxPayload = 64 << 20

// digits reads a number of n hexadecimal digits.
func (m *message) digits(r io.Reader, n int, what string) (v uint32, err error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, err
	}
	for _, c := range b {
		v <<= 4
		switch {
		case c >= '0' && c <= '9':
			v |= uint32(c - '0')
		case c >= 'a' && c <= 'f':
			v |= uint32(c-'a') + 10
		case c >= 'A' && c <= 'F':
			v |= uint32(c-'A') + 10
			m.upper = true
		default:
			return 0, malformed(fmt.Sprintf("a message whose %s is %q, which is no number of %d hexadecimal digits", what, b, n))
		}
	}
	return v, nil
}

func text(r io.Reader, n uint32) (string, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return string(b), err
}

// malformed says what came instead of a message.
type malformed string

func (m malformed) Error() string { return string(m) }

// readHeader reads a header, and says how large the payload is.
func readHeader(r io.Reader) (m message, size uint32, err error) {
	typ, err := text(r, 1)
	if err != nil {
		return m, 0, err
	}
	m.typ = typ[0]
	if !strings.ContainsRune("rsnpRSEehf", rune(m.typ)) {
		return m, 0, malformed(fmt.Sprintf("%s in the place of a message's type", escape(typ)))
	}
	if strings.IndexByte("rspRSEe", m.typ) >= 0 {
		if m.id, err = text(r, 4); err != nil {
			return m, 0, err
		}
	}
	if strings.IndexByte("rsn", m.typ) >= 0 {
		n, err := m.digits(r, 3, "name size")
		if err != nil {
			return m, 0, err
		}
		if m.name, err = text(r, n); err != nil {
			return m, 0, err
		}
	}
	switch m.typ {
	case 'h':
		if m.load, err = m.digits(r, 4, "load"); err == nil {
			m.number, err = m.digits(r, 8, "time")
		}
		return m, 0, err
	case 'f':
		m.number, err = m.digits(r, 8, "code")
		return m, 0, err
	case 'e':
		if m.number, err = m.digits(r, 8, "wait"); err != nil {
			return m, 0, err
		}
	}
	size, err = m.digits(r, 8, "payload size")
	if err == nil && size > maxPayload {
		err = malformed(fmt.Sprintf("a message that claims a payload of %d bytes", size))
	}
	return m, size, err
}

// is tells whether m is a message of one of these types that belongs to the request.
func (m message) is(types, id string) bool {
	return strings.IndexByte(types, m.typ) >= 0 && m.id == id
}

// String is m as it would be on the wire.
func (m message) String() string {
	switch m.typ {
	case 'r', 's':
		return request(m.typ, m.id, m.name, m.payload).String()
	case 'n':
		return note(m.name, m.payload).String()
	case 'e':
		return retry(m.id, int(m.number), m.payload).String()
	case 'h':
		return heartbeat(uint16(m.load), m.number).String()
	case 'f':
		return protocolError(int(m.number)).String()
	}
	return part(m.typ, m.id, m.payload).String()
}

const (
	shownBytes = 160 // of a message in a report
	shownStart = 100 // of one that is longer
)

// escape makes bytes readable as PROTOCOL.md does, and cuts what is long.
func escape(s string) string {
	n := len(s)
	cut := n > shownBytes
	if cut {
		s = s[:shownStart]
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) || r == '\\' && strings.HasPrefix(s[1:], "x") {
			fmt.Fprintf(&b, `\x%02x`, s[0])
			size = 1
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	if cut {
		fmt.Fprintf(&b, "… (%d bytes)", n)
	}
	return b.String()
}
