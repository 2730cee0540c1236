package gotalk_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// errEnd is how a connection ends in good order, or at least as expected: with a FIN, or with a reset that unread
// input makes of it.
var errEnd = errors.New("end")

// received is what came from a live peer: a message as the frames it should come in, a close frame, or the end.
type received struct {
	frames [][]byte
	close  int
	end    error
	at     time.Time
}

func (r received) String() string {
	switch {
	case r.end != nil:
		return r.end.Error()
	case r.close != 0:
		return fmt.Sprintf("close %d", r.close)
	}
	return fmt.Sprintf("%.200q", r.frames)
}

// sameID tells whether r is a result with the id of s, which is one.
func (r received) sameID(s step) bool {
	if len(r.frames) == 0 || len(r.frames[0]) < 13 {
		return false
	}
	got := step{frames: r.frames}
	return got.isResult() && string(r.frames[0][1:5]) == string(s.frames[0][1:5])
}

// wire is the scripted end of a connection. It knows as much of the protocol as it takes to tell messages apart, and
// that much it does not take from the library under test.
type wire struct {
	nc     net.Conn
	br     *bufio.Reader
	ws     bool
	client bool // of a WebSocket: it masks what it sends, its peer must not
	in     chan received
	done   chan struct{} // closed when the reading goroutine is gone
}

// newWire begins to read from nc. Its goroutine ends when the connection does, at the latest when the test does.
func newWire(t testing.TB, nc net.Conn, br *bufio.Reader, ws, client bool) *wire {
	require.NoError(t, nc.SetDeadline(time.Now().Add(3*patience)))
	if br == nil {
		br = bufio.NewReaderSize(nc, 8192)
	}
	w := &wire{nc: nc, br: br, ws: ws, client: client, in: make(chan received, 10_000), done: make(chan struct{})}
	go w.serveReads()
	return w
}

// stop closes the connection and waits for the goroutine that reads from it.
func (w *wire) stop() {
	w.nc.Close()
	<-w.done
}

func (w *wire) serveReads() {
	defer close(w.done)
	defer func() {
		if nonsense := recover(); nonsense != nil {
			w.in <- received{end: fmt.Errorf("%v", nonsense)}
		}
	}()
	read := w.readMessage
	if w.ws {
		read = w.readWebSocket
	}
	for version := true; ; version = false {
		r, err := read(version)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe) ||
				errors.Is(err, net.ErrClosed) {
				err = errEnd
			}
			w.in <- received{end: err}
			return
		}
		r.at = time.Now()
		w.in <- r
	}
}

// headerSizes gives the size of the header at the beginning of b and of the payload after it; the former is the number
// of bytes to look at next where b is too short.
func headerSizes(b []byte) (header, payload int) {
	prefix := map[byte]int{'r': 8, 's': 8, 'n': 4}
	if n := prefix[b[0]]; n > len(b) {
		return n, 0
	}
	switch b[0] {
	case 'r', 's':
		header = 16 + hexNumber(b[5:8])
	case 'n':
		header = 12 + hexNumber(b[1:4])
	case 'p', 'R', 'S', 'E', 'h':
		header = 13
	case 'e':
		header = 21
	case 'f':
		header = 9
	default:
		panic(fmt.Sprintf("a live peer sent %q", b))
	}
	if header <= len(b) && b[0] != 'h' && b[0] != 'f' {
		payload = hexNumber(b[header-8 : header])
	}
	return header, payload
}

// hexNumber parses the digits that an encoder may use: lower-case ones.
func hexNumber(b []byte) int {
	n, err := strconv.ParseUint(string(b), 16, 32)
	if err != nil || string(b) != fmt.Sprintf("%0*x", len(b), n) {
		panic(fmt.Sprintf("a live peer sent the number %q", b))
	}
	return int(n)
}

// readMessage reads a version or a message from a byte stream.
func (w *wire) readMessage(version bool) (r received, err error) {
	header, payload := 2, 0
	for looked := 1; !version; {
		b, err := w.br.Peek(looked)
		if err != nil {
			return r, err
		}
		if header, payload = headerSizes(b); header == looked {
			break
		}
		looked = header
	}
	b := make([]byte, header+payload)
	if _, err := io.ReadFull(w.br, b); err != nil {
		return r, err
	}
	r.frames = [][]byte{b[:header]}
	if payload > 0 {
		r.frames = append(r.frames, b[header:])
	}
	return r, nil
}

// readWebSocket reads the WebSocket messages of one version or message.
func (w *wire) readWebSocket(version bool) (r received, err error) {
	opcode, b, err := w.readFrame()
	if err != nil {
		return r, err
	}
	if opcode == 8 {
		if len(b) < 2 {
			return r, fmt.Errorf("close frame %q", b)
		}
		r.close = int(binary.BigEndian.Uint16(b))
		return r, nil
	}
	r.frames = [][]byte{b}
	if version || len(b) == 0 {
		return r, nil
	}
	if header, payload := headerSizes(b); header == len(b) && payload > 0 {
		opcode, b, err := w.readFrame()
		if err != nil || opcode == 8 {
			return r, fmt.Errorf("header %q without payload: opcode %d, %w", r.frames[0], opcode, err)
		}
		r.frames = append(r.frames, b)
	}
	return r, nil
}

// readFrame reads the next frame that is not a pong.
func (w *wire) readFrame() (opcode byte, b []byte, err error) {
	for {
		if opcode, b, err = w.readAnyFrame(); err != nil || opcode != 10 {
			return opcode, b, err
		}
		if string(b) != "still there?" {
			return 0, nil, fmt.Errorf("pong %q", b)
		}
	}
}

// readAnyFrame reads one frame: binary and whole, a close frame or a pong, since peers never send anything else.
func (w *wire) readAnyFrame() (opcode byte, b []byte, err error) {
	var h [14]byte
	if _, err := io.ReadFull(w.br, h[:2]); err != nil {
		return 0, nil, err
	}
	n, opcode := int(h[1]&0x7f), h[0]&15
	if h[0]&0xf0 != 0x80 || opcode != 2 && opcode != 8 && opcode != 10 || h[1]&0x80 != 0 == w.client {
		return 0, nil, fmt.Errorf("the live peer sent a frame with the header %x", h[:2])
	}
	switch n {
	case 126:
		_, err = io.ReadFull(w.br, h[:2])
		n = int(binary.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(w.br, h[:8])
		n = int(binary.BigEndian.Uint64(h[:]))
	}
	if err == nil && !w.client {
		_, err = io.ReadFull(w.br, h[10:])
	}
	if err != nil {
		return 0, nil, err
	}
	b = make([]byte, n)
	if _, err := io.ReadFull(w.br, b); err != nil {
		return 0, nil, err
	}
	if !w.client {
		for i := range b {
			b[i] ^= h[10+i%4]
		}
	}
	return opcode, b, nil
}

// appendFrame appends a frame to b. The mask of a client is zero, which masks nothing and is allowed.
func (w *wire) appendFrame(b []byte, fin bool, opcode byte, payload []byte) []byte {
	if fin {
		opcode |= 0x80
	}
	var mask byte
	if w.client {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, opcode, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, opcode, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, opcode, mask|127), uint64(n))
	}
	if w.client {
		b = append(b, 0, 0, 0, 0)
	}
	return append(b, payload...)
}

// send writes the frames of a message, cut as how says.
func (w *wire) send(frames [][]byte, opcodes []byte, how split) error {
	var writes [][]byte
	for i, frame := range frames {
		switch {
		case !w.ws && how.bytes:
			for i := range frame {
				writes = append(writes, frame[i:i+1])
			}
		case !w.ws:
			writes = append(writes, frame)
		case how.bytes:
			// Text of which each message has a byte only would not be UTF-8, so all is binary. Empty messages mean
			// nothing.
			b := w.appendFrame(nil, true, 2, nil)
			for i := range frame {
				b = w.appendFrame(b, true, 2, frame[i:i+1])
			}
			writes = append(writes, b)
		case how.fragments:
			opcode := opcodes[i]
			var b []byte
			for i := range frame {
				b = w.appendFrame(b, false, opcode, frame[i:i+1])
				if i == 0 {
					b = w.appendFrame(b, true, 9, []byte("still there?")) // a ping may come at any time
				}
				opcode = 0
			}
			b = w.appendFrame(b, true, opcode, nil)
			writes = append(writes, b)
		default:
			writes = append(writes, w.appendFrame(nil, true, opcodes[i], frame))
		}
	}
	if how.at > 0 {
		all := net.Buffers(writes)
		whole, _ := io.ReadAll(&all)
		at := min(how.at, len(whole))
		writes = [][]byte{whole[:at], whole[at:]}
	}
	for _, b := range writes {
		if len(b) == 0 {
			continue // a pipe would have its reader read nothing
		}
		if _, err := w.nc.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// sendClose sends a close frame. The peer may have gone already if it was the one to begin.
func (w *wire) sendClose(code int) error {
	_, err := w.nc.Write(w.appendFrame(nil, true, 8, binary.BigEndian.AppendUint16(nil, uint16(code))))
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

// end tells the peer that nothing more will be sent; what it still has to say can be read except on a pipe.
func (w *wire) end(reset bool) error {
	c, ok := w.nc.(*net.TCPConn)
	switch {
	case !ok:
		return w.nc.Close()
	case reset:
		if err := c.SetLinger(0); err != nil {
			return err
		}
		return c.Close()
	}
	if err := c.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// pipeListener listens for connections in memory. A write to one lasts until the peer has read all of it, so that what
// is written in two parts is read in two parts.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial() net.Conn {
	a, b := net.Pipe()
	l.conns <- networked{b}
	return a
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// networked is a pipe that passes for a connection of a network, since a Sock sets no read deadline on pipes.
type networked struct{ net.Conn }

func (c networked) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c networked) LocalAddr() net.Addr  { return c.RemoteAddr() }
