package gotalk

import (
	"bytes"
	"fmt"
)

// noteQueue holds notifications, and heartbeats for OnHeartbeat, which are handled one after the other. Guarded by
// link.mu.
type noteQueue struct {
	waiting []note
	serving bool
}

type note struct {
	name    string
	fn      BufferNoteHandler
	payload []byte
	call    func() // instead of fn
}

// onNotification takes a notification and leaves it to a goroutine that handles them in order.
func (l *link) onNotification(h header) error {
	if bytes.HasPrefix(h.name, []byte(reservedPrefix)) {
		return l.onExtension(h)
	}
	fn, name := l.sock.handlers().findNotification(h.name)
	if fn != nil && h.size > l.limits.MaxPayload {
		l.logError(fmt.Sprintf("notification %q dropped: %v", name, tooLarge("notification", h.size, l.limits.MaxPayload)))
		fn = nil
	}
	if fn == nil {
		return l.r.skip(h.size)
	}
	payload, err := l.r.payload(h.size)
	if err == nil {
		l.queueNote(note{name: name, fn: fn, payload: payload}, true)
	}
	return err
}

// queueNote queues n to be handled after those that came before it. If none of them is left, a goroutine is started for
// it, or it fails without one where start is false.
func (l *link) queueNote(n note, start bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.notes.serving && (!start || l.closed) {
		return false
	}
	l.notes.waiting = append(l.notes.waiting, n)
	l.pendingBytes.Add(n.held())
	if !l.notes.serving {
		l.notes.serving = true
		go l.serveNotes() // ends when no notification waits; Shutdown waits for it
	}
	return true
}

func (n *note) held() int64 { return int64(len(n.name) + len(n.payload) + itemOverhead) }

// serveNotes handles the notifications that wait, one after the other.
func (l *link) serveNotes() {
	done := false
	defer func() {
		if !done { // a handler ended this goroutine by runtime.Goexit: another one takes its place
			go l.serveNotes()
		}
	}()
	for {
		l.mu.Lock()
		if len(l.notes.waiting) == 0 {
			l.notes.waiting, l.notes.serving, done = nil, false, true
			l.mu.Unlock()
			l.finished()
			return
		}
		n := l.notes.waiting[0]
		l.notes.waiting[0] = note{}
		l.notes.waiting = l.notes.waiting[1:]
		l.mu.Unlock()
		l.serveNote(&n)
	}
}

func (l *link) serveNote(n *note) {
	returned := false
	defer func() {
		if !returned {
			l.logPanic(recover(), n.name)
		}
		l.pendingBytes.Add(-n.held())
		l.wakeReader()
	}()
	if n.call != nil {
		n.call()
	} else {
		n.fn(l.sock, n.name, n.payload)
	}
	returned = true
}
