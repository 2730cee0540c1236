package gotalk

import (
	"encoding/json"
	"slices"
	"sync"
)

// PreparedNotification is a notification that is encoded once to be sent to many peers: see Sock.NotifyPrepared,
// Server.Broadcast and WebSocketServer.Broadcast. It never changes, so it may be used concurrently and any number of times.
type PreparedNotification struct {
	name    string
	payload []byte // the end of plain
	plain   []byte // header and payload

	framed func() []byte // as a server's WebSocket frames, header and payload being two messages
	joined func() []byte // or one
}

// PrepareNotification prepares a notification with v as JSON.
func PrepareNotification(name string, v any) (*PreparedNotification, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return PrepareBufferNotification(name, payload)
}

// PrepareBufferNotification prepares a notification with payload buf, which it copies. It fails if the name is longer than
// 4,095 bytes or begins with "gotalk:", and if buf is larger than 4 GiB.
func PrepareBufferNotification(name string, buf []byte) (*PreparedNotification, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if uint64(len(buf)) > maxSize {
		return nil, oversize(len(buf))
	}
	m := message{t: MsgTypeNotification, name: name, payload: buf}
	header := m.appendHeader(nil)
	plain := slices.Concat(header, buf)
	p := &PreparedNotification{name: name, plain: plain, payload: plain[len(header):]}
	p.framed = sync.OnceValue(func() []byte {
		b := appendFrame(make([]byte, 0, len(plain)+2*maxFrameHeader), serverFraming, opBinary, header)
		if len(p.payload) > 0 {
			b = appendFrame(b, serverFraming, opBinary, p.payload)
		}
		return b
	})
	p.joined = sync.OnceValue(func() []byte {
		return appendFrame(make([]byte, 0, len(plain)+maxFrameHeader), serverFraming, opBinary, plain)
	})
	return p, nil
}

// appendPreparedLocked appends a notification. Where nothing waits before it, or it is large, it is written from the memory
// that all peers share.
func (w *msgWriter) appendPreparedLocked(p *PreparedNotification) {
	alone, beside := p.plain, p.plain // as it goes out by itself, or in a buffer with others
	switch {
	case w.framing == clientFraming: // where what is sent is hidden with a key of its own
		w.appendLocked(&message{t: MsgTypeNotification, name: p.name, payload: p.payload}, false)
		return
	case w.joining:
		alone = p.joined()
	case w.framing == serverFraming:
		alone = p.framed()
		beside = alone
	}
	if w.queued > w.written && len(alone) <= lendSize {
		t := w.tailLocked(w.joining)
		t.b = append(t.b, beside...)
		w.countLocked(len(beside))
		return
	}
	if w.tail != nil {
		w.queue = append(w.queue, segment{buf: w.tail})
		w.tail = nil
	}
	w.queue = append(w.queue, segment{lent: alone})
	w.countLocked(len(alone))
}
