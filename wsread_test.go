package gotalk_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// frameConn is a connection on which frames come in pieces of the given size, and that keeps what is written to it.
type frameConn struct {
	net.Conn
	in    []byte
	piece int
	out   bytes.Buffer
}

func (c *frameConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *frameConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *frameConn) Close() error                     { return nil }
func (c *frameConn) LocalAddr() net.Addr              { return nil }
func (c *frameConn) SetDeadline(time.Time) error      { return nil }
func (c *frameConn) SetReadDeadline(time.Time) error  { return nil }
func (c *frameConn) SetWriteDeadline(time.Time) error { return nil }

type frameHijacker struct {
	*httptest.ResponseRecorder
	conn *frameConn
}

func (h frameHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// gorillas returns a WebSocket of gorilla's on conn.
func gorillas(t testing.TB, conn *frameConn) *websocket.Conn {
	in := conn.in
	conn.in = nil
	var up websocket.Upgrader
	ws, err := up.Upgrade(frameHijacker{httptest.NewRecorder(), conn}, upgradeRequest("example.com", ""), http.Header{})
	require.NoError(t, err)
	conn.in = in
	conn.out.Reset()
	return ws
}

// controls returns the control frames in what a server has sent, without the reason of a close frame.
func controls(t testing.TB, sent []byte) (list []string) {
	for len(sent) > 0 {
		require.GreaterOrEqual(t, sent[0], byte(0x88), "no data is sent")
		n := 2 + int(sent[1])
		frame := string(sent[:1]) + string(sent[2:n])
		if sent[0] == 0x88 {
			frame = frame[:min(3, len(frame))]
		}
		list, sent = append(list, frame), sent[n:]
	}
	return list
}

// checkFrames reads frames with our code and with gorilla's, and compares what is read and what is answered.
func checkFrames(t testing.TB, in []byte, piece int) {
	conns := [2]*frameConn{{in: bytes.Clone(in), piece: max(1, piece)}, {in: bytes.Clone(in), piece: max(1, len(in))}}
	ws := gorillas(t, conns[1])
	r, written := gotalk.Frames(conns[0])
	ours, err := io.ReadAll(r)
	written()
	var theirs []byte
	for {
		_, r, failed := ws.NextReader()
		if failed != nil {
			break
		}
		b, failed := io.ReadAll(r)
		theirs = append(theirs, b...)
		if failed != nil {
			break
		}
	}
	if err != nil && strings.Contains(err.Error(), "UTF-8") { // which gorilla's leaves to its user
		require.True(t, bytes.HasPrefix(theirs, ours))
		return
	}
	require.Equal(t, string(theirs), string(ours))
	if err != nil && (strings.Contains(err.Error(), "valid code") || strings.Contains(err.Error(), "negative")) {
		return // where ours is stricter
	}
	require.Equal(t, controls(t, conns[1].out.Bytes()), controls(t, conns[0].out.Bytes()), "ours: %v", err)
}

func frameSeeds() (seeds [][]byte) {
	w := &wire{ws: true, client: true}
	long := []byte(strings.Repeat("0123456789", 7000))
	data := func(fin bool, opcode byte, payloads ...[]byte) (b []byte) {
		for _, p := range payloads {
			b = w.appendFrame(b, fin, opcode, p)
		}
		return b
	}
	part := func(b ...[]byte) { seeds = append(seeds, bytes.Join(b, nil)) }
	hi := []byte("hi")
	part(data(true, 2, hi, nil, long[:125], long[:126], long[:70_000], hi))
	part(data(false, 2, hi), data(true, 9, hi), data(false, 0, long[:300], nil), data(true, 10, nil), data(true, 0, hi),
		data(true, 1, hi))
	part(data(true, 1, []byte("gr\xc3"), []byte("\xbc\xc3\x9fe \xe2"), []byte("\x98\x83")), data(true, 8, []byte("\x03\xe8bye")))
	part(data(true, 2, hi), data(true, 9, long[:125]), data(true, 8, nil), data(true, 2, hi))
	part(data(true, 2, hi), data(true, 8, []byte("\x03\xec")), data(true, 2, hi))
	part(data(true, 2, hi), data(true, 8, []byte("\x03")))
	part(data(true, 2, hi), data(true, 8, []byte("\x03\xe8\xff")), data(true, 2, hi))
	part(data(true, 2, hi), data(true, 3, hi))
	part(data(true, 2, hi), data(true, 0, hi))
	part(data(false, 2, hi), data(true, 2, hi))
	part(data(true, 2, hi), data(false, 9, hi))
	part(data(true, 2, hi), data(true, 9, long[:126]))
	part(data(true, 2, hi), []byte("\xc2\x80\x00\x00\x00\x00"))
	part(data(true, 2, hi), []byte("\x82\x02hi"))
	part(data(true, 2, hi), []byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00x"))
	part(data(true, 1, []byte("a\xffb")))
	return seeds
}

// Frames are read as gorilla's code reads them, in whatever pieces they come.
func TestFramesAreReadAsGorillaDoes(t *testing.T) {
	for _, in := range frameSeeds() {
		for _, piece := range []int{1, 2, 3, 7, 64, 1000, len(in)} {
			checkFrames(t, in, piece)
		}
		for end := range min(len(in), 400) {
			checkFrames(t, in[:end], 5)
		}
	}
}

// FuzzFrames does so with any bytes.
func FuzzFrames(f *testing.F) {
	for i, in := range frameSeeds() {
		f.Add(in, uint16(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint16) { checkFrames(t, in, int(piece)) })
}
