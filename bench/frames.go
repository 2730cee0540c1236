package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// What the ceilings are made of: frames of payload length and id, both of four bytes, with many calls on one connection.
// Nothing is checked that a peer could get wrong, nothing is bounded, and there are no names, errors, contexts or timeouts.

const (
	frameHeader = 8
	frameNote   = 0         // the id of a notification
	frameDirect = 32 << 10  // payloads from here on are written from the caller's slice
	frameBuffer = 64 << 10  // of a reader
	framesAhead = 256 << 10 // so many bytes may wait to be written
)

// frameWriter has the bytes of many senders leave in few writes: the first one in writes for those who come meanwhile.
type frameWriter struct {
	conn  net.Conn
	busy  func() bool // more than one is about to send, so that it pays to let them
	write sync.Mutex  // held while writing

	mu       sync.Mutex
	room     sync.Cond
	buf      []byte
	spare    []byte
	flushing bool
	err      error
}

func newFrameWriter(c net.Conn, busy func() bool) *frameWriter {
	w := &frameWriter{conn: c, busy: busy}
	w.room.L = &w.mu
	return w
}

func appendFrame(b []byte, id uint32, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, id)
	return append(b, payload...)
}

// send returns when payload may be changed again.
func (w *frameWriter) send(id uint32, payload []byte) error {
	if len(payload) >= frameDirect {
		header := binary.BigEndian.AppendUint32(make([]byte, 0, frameHeader), uint32(len(payload)))
		both := net.Buffers{binary.BigEndian.AppendUint32(header, id), payload}
		w.write.Lock()
		defer w.write.Unlock()
		_, err := both.WriteTo(w.conn)
		return err
	}
	w.mu.Lock()
	for len(w.buf) > framesAhead && w.err == nil {
		w.room.Wait()
	}
	w.buf = appendFrame(w.buf, id, payload)
	flush := !w.flushing
	w.flushing = true
	err := w.err
	w.mu.Unlock()
	if !flush || err != nil {
		return err
	}
	return w.flush()
}

// note sends a notification, and leaves writing it to a goroutine.
func (w *frameWriter) note(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.buf) > framesAhead && w.err == nil {
		w.room.Wait()
	}
	w.buf = appendFrame(w.buf, frameNote, b)
	if !w.flushing {
		w.flushing = true
		go w.flush() // ends when nothing is to be written
	}
	return w.err
}

func (w *frameWriter) flush() error {
	for {
		if w.busy() {
			runtime.Gosched()
		}
		w.write.Lock()
		w.mu.Lock()
		out := w.buf
		if len(out) == 0 || w.err != nil {
			err := w.err
			w.flushing = false
			w.mu.Unlock()
			w.write.Unlock()
			return err
		}
		w.buf = w.spare[:0]
		w.mu.Unlock()
		w.room.Broadcast()
		_, err := w.conn.Write(out)
		w.mu.Lock()
		w.spare, w.err = out, err
		w.mu.Unlock()
		w.write.Unlock()
	}
}

// frameReader reads frames.
type frameReader struct{ r *bufio.Reader }

func newFrameReader(c net.Conn) frameReader { return frameReader{bufio.NewReaderSize(c, frameBuffer)} }

// next returns the header of the next frame. Its payload is to be read next.
func (r frameReader) next() (size int, id uint32, err error) {
	h, err := r.r.Peek(frameHeader)
	if err != nil {
		return 0, 0, err
	}
	size, id = int(binary.BigEndian.Uint32(h)), binary.BigEndian.Uint32(h[4:])
	r.r.Discard(frameHeader)
	return size, id, nil
}

// peek returns a payload that the reader's buffer has room for. It is good until the next one is read.
func (r frameReader) peek(size int) ([]byte, error) {
	b, err := r.r.Peek(size)
	r.r.Discard(len(b))
	return b, err
}

// frameClient is the client of both ceilings.
type frameClient struct {
	w       *frameWriter
	calling atomic.Int32

	mu      sync.Mutex
	lastID  uint32
	pending map[uint32]*frameCall
	err     error
}

type frameCall struct {
	dst  []byte
	size int
	done chan error
}

var frameCalls = sync.Pool{New: func() any { return &frameCall{done: make(chan error, 1)} }}

func dialFrames(addr string) (*Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &frameClient{pending: map[uint32]*frameCall{}}
	c.w = newFrameWriter(conn, func() bool { return c.calling.Load() > 1 })
	go c.read(newFrameReader(conn)) // ends when the connection does
	return &Conn{Echo: c.echo, Notify: c.w.note}, nil
}

func (c *frameClient) echo(in, dst []byte) ([]byte, error) {
	c.calling.Add(1)
	defer c.calling.Add(-1)
	call := frameCalls.Get().(*frameCall)
	call.dst = dst
	c.mu.Lock()
	c.lastID++
	if c.lastID == frameNote {
		c.lastID++
	}
	id := c.lastID
	c.pending[id] = call
	err := c.err
	c.mu.Unlock()
	if err == nil {
		err = c.w.send(id, in)
	}
	if err != nil {
		return nil, err
	}
	err = <-call.done
	n := call.size
	call.dst = nil
	frameCalls.Put(call)
	return dst[:n], err
}

func (c *frameClient) read(r frameReader) {
	var err error
	for err == nil {
		var size int
		var id uint32
		if size, id, err = r.next(); err != nil {
			break
		}
		c.mu.Lock()
		call := c.pending[id]
		delete(c.pending, id)
		c.mu.Unlock()
		if call == nil || size > len(call.dst) {
			err = errors.New("an answer to no call")
			break
		}
		call.size, err = io.ReadFull(r.r, call.dst[:size])
		call.done <- err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	for _, call := range c.pending {
		call.done <- err
	}
}
