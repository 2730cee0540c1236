package gotalk

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// The names of the messages by which two peers of ours say more than protocol 1 does. They are notifications, which old
// peers drop, and but for the hello they are sent only to a peer that has said that it knows them.
const (
	helloName  = reservedPrefix + "hello"
	cancelName = reservedPrefix + "cancel"
	creditName = reservedPrefix + "credit"
	metaName   = reservedPrefix + "meta"
	goawayName = reservedPrefix + "goaway"
	errorName  = reservedPrefix + "error"

	maxExtensionSize = 16 << 10 // of any of them
	creditSize       = 1 + 4 + 8

	// helloWait is how long what depends on the peer's hello waits for it on a new connection. Old peers never answer.
	helloWait = 100 * time.Millisecond
)

// hello is what a peer understands. Keys that we do not know do not matter.
type hello struct {
	cancel bool  // acts on cancel
	credit int64 // keeps to stream windows, and grants one of this size to each stream; 0 if it does not
	errors bool  // error results may be JSON with a code, and a protocol error have one in front
	goaway bool  // acts on goaway
	join   bool  // header, payload and whole messages may share a WebSocket message
	meta   bool  // reads meta
	split  int64 // puts large payloads together, and likes parts of this size; 0 if it does not
}

// ourHello makes the message that says what we understand.
func (l *link) ourHello() *message {
	join := ""
	if l.w.framing != unframed {
		join = `"join":1,`
	}
	text := fmt.Sprintf(`{"cancel":1,"credit":%d,"error":1,"goaway":1,%s"meta":1,"split":%d}`, streamWindow, join, ourPart)
	return &message{t: MsgTypeNotification, name: helloName, payload: []byte(text)}
}

func parseHello(payload []byte) (*hello, error) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(payload, &keys) != nil || keys == nil {
		return nil, errMalformed
	}
	said := func(key string) bool { return keys[key] != nil }
	h := &hello{cancel: said("cancel"), errors: said("error"), goaway: said("goaway"), join: said("join"), meta: said("meta")}
	for key, n := range map[string]*int64{"credit": &h.credit, "split": &h.split} {
		if said(key) && (json.Unmarshal(keys[key], n) != nil || *n < 1) {
			return nil, errMalformed
		}
	}
	return h, nil
}

// peerSaid returns what the peer understands: nothing, until it has said so.
func (l *link) peerSaid() hello {
	if h := l.hello.Load(); h != nil {
		return *h
	}
	return hello{}
}

// expectHello lets awaitHello wait, for a while from now on.
func (l *link) expectHello() {
	until := time.Now().Add(helloWait)
	l.helloUntil.Store(&until)
}

// awaitHello waits for the peer's hello if the connection is so new that it may be on its way, but not longer than ctx
// lasts. Then it returns what the peer understands.
func (l *link) awaitHello(ctx context.Context) hello {
	if h := l.hello.Load(); h != nil || l.sock.NoExtensions {
		return l.peerSaid()
	}
	until := l.helloUntil.Load()
	if until == nil {
		return hello{}
	}
	left := time.Until(*until)
	if left <= 0 {
		return hello{}
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-l.greeted.ch():
	case <-ctx.Done():
	case <-l.done.ch():
	case <-t.C:
	}
	return l.peerSaid()
}

// onExtension takes a notification with a reserved name. It never reaches a program's handlers.
func (l *link) onExtension(h *header) error {
	name := string(h.name)
	if l.sock.NoExtensions || name != helloName && l.hello.Load() == nil {
		return l.r.skip(h.size)
	}
	switch name {
	case helloName, cancelName, creditName, metaName, goawayName, errorName:
	default:
		return l.r.skip(h.size)
	}
	if h.size > maxExtensionSize {
		return errMalformed
	}
	if name != helloName && !l.heard.Load() {
		l.heard.Store(true)
	}
	payload, err := l.r.payload(h.size, nil)
	if err != nil {
		return err
	}
	switch name {
	case helloName:
		return l.onHello(payload)
	case cancelName:
		if len(payload) != len(msgID{}) {
			return errMalformed
		}
		l.onCancel(msgID(payload))
	case creditName:
		return l.onCredit(payload)
	case metaName:
		return l.onMeta(payload)
	case errorName:
		return l.onWhy(payload)
	case goawayName:
		var g goaway
		if json.Unmarshal(payload, &g) != nil {
			return errMalformed
		}
		l.onGoaway(g)
	}
	return nil
}

func (l *link) onHello(payload []byte) error {
	peer, err := parseHello(payload)
	if err != nil {
		return err
	}
	if l.hello.Load() != nil { // only the first one counts
		return nil
	}
	if peer.join && l.w.framing == serverFraming {
		l.w.startJoining()
	}
	l.mu.Lock() // who hears our hello may rely on it that we know the peer's
	if !l.saidHello {
		l.saidHello = true
		err = l.w.post(l.ourHello()) // before others know the peer's, and send what it only understands after ours
	}
	l.hello.Store(peer)
	unwanted := l.unwanted
	l.unwanted = nil
	l.mu.Unlock()
	if err != nil {
		l.failed(err)
	}
	for _, id := range unwanted {
		l.postCancel(id)
	}
	if peer.credit > 0 {
		l.beginWindows(peer.credit)
	}
	l.greeted.happen()
	return l.readAfresh()
}

// beginWindows gives the streams that are under way a window, from now on.
func (l *link) beginWindows(size int64) {
	var inboxes []*inbox
	l.mu.Lock()
	for _, c := range l.calls {
		if c.stream != nil {
			c.stream.setWindow(size)
		}
		if c.in != nil {
			inboxes = append(inboxes, c.in)
		}
	}
	for _, st := range l.streams {
		st.setWindow(size)
		inboxes = append(inboxes, &st.in)
	}
	l.mu.Unlock()
	for _, in := range inboxes { // the peer may count what it sent before
		in.mu.Lock()
		in.grant(1)
	}
}

// requestMeta is what a caller says about a request beside its payload.
type requestMeta struct {
	id      msgID
	timeout time.Duration     // 0 when there is none
	sized   bool              // it is a single request that comes in parts
	bytes   int64             // which it has in all, if it is sized; up to maxSize
	values  map[string]string // nil when there are none
	size    int               // of the memory that values take, about
}

// valueOverhead is about what an entry of a map of strings takes beside their bytes.
const valueOverhead = 64

const (
	timeoutKey = "timeout_ms"
	sizeKey    = "size" // as a number; as text it is the program's own
)

// onMeta takes what belongs to the request that follows.
func (l *link) onMeta(payload []byte) error {
	var fields map[string]json.RawMessage
	if len(payload) < len(msgID{}) || json.Unmarshal(payload[len(msgID{}):], &fields) != nil || fields == nil {
		return errMalformed
	}
	m := requestMeta{id: msgID(payload[:len(msgID{})])}
	for key, raw := range fields {
		var text string
		var n *float64
		switch {
		case key == timeoutKey:
			if json.Unmarshal(raw, &n) == nil && n != nil && *n >= 0 {
				m.timeout = max(1, time.Duration(min(*n, maxSize)*float64(time.Millisecond)))
			}
		case key == sizeKey && json.Unmarshal(raw, &n) == nil && n != nil:
			m.sized, m.bytes = true, int64(min(max(*n, 0), maxSize))
		case json.Unmarshal(raw, &text) == nil:
			if m.values == nil {
				m.values = map[string]string{}
			}
			m.values[key] = text
			m.size += len(key) + len(text) + valueOverhead
		}
	}
	l.meta = m
	return nil
}

// takeMeta returns what was said about the request with that id, which is the one that follows.
func (l *link) takeMeta(id msgID) (m requestMeta) {
	if l.meta.id == id {
		m = l.meta
	}
	if l.meta.timeout != 0 || l.meta.values != nil || l.meta.sized {
		l.meta = requestMeta{}
	}
	return m
}

// metaFor makes the message that goes before a request made with ctx, or nil if there is nothing to say or the peer does
// not listen. size is that of a payload that leaves in parts, otherwise 0.
func (l *link) metaFor(ctx context.Context, id msgID, size int) (*message, error) {
	deadline, limited := ctx.Deadline()
	values, _ := ctx.Value(outgoingMeta{}).(map[string]string)
	if !limited && len(values) == 0 && size == 0 || !l.awaitHello(ctx).meta {
		return nil, nil
	}
	payload := append(make([]byte, 0, 64), id[:]...)
	ms := int64(0)
	if limited {
		left := time.Until(deadline) // if that is too far away to say, as much as can be said
		if ms = int64(left / time.Millisecond); left%time.Millisecond > 0 {
			ms++
		}
		ms = max(1, ms)
	}
	if len(values) == 0 && size == 0 {
		payload = strconv.AppendInt(append(payload, `{"`+timeoutKey+`":`...), ms, 10)
		payload = append(payload, '}')
	} else {
		fields := make(map[string]any, len(values)+2)
		for k, v := range values {
			fields[k] = v
		}
		delete(fields, timeoutKey)
		if limited {
			fields[timeoutKey] = ms
		}
		if size > 0 {
			fields[sizeKey] = size
		}
		b, _ := json.Marshal(fields) // of strings and numbers: cannot fail
		payload = append(payload, b...)
	}
	if len(payload) > maxExtensionSize {
		return nil, NewError(CodeResourceExhausted, "the metadata of a request is over 16 KiB")
	}
	return &message{t: MsgTypeNotification, name: metaName, payload: payload}, nil
}
