package gotalk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// noteQueue holds notifications, and heartbeats for OnHeartbeat, which are handled one after the other. Guarded by
// link.mu.
type noteQueue struct {
	waiting []note
	serving bool
}

type note struct {
	*entry[noteFunc]
	payload []byte
	through *noteCall // nil without interceptors
}

// noteCall is what a notification has besides if interceptors are to be called.
type noteCall struct {
	around []Interceptor
	info   CallInfo
}

// onNotification takes a notification and leaves it to a goroutine that handles them in order.
func (l *link) onNotification(h *header) error {
	if bytes.HasPrefix(h.name, []byte(reservedPrefix)) {
		return l.onExtension(h)
	}
	handlers := l.sock.handlers()
	e := handlers.findNotification(h.name)
	if e == nil {
		return l.r.skip(h.size)
	}
	if h.size > l.limits.MaxPayload {
		l.logError(fmt.Sprintf("notification %q dropped: %v", e.name, tooLarge("notification", h.size, l.limits.MaxPayload)))
		return l.r.skip(h.size)
	}
	n := note{entry: e}
	if around := handlers.interceptors(); len(around) > 0 {
		n.through = &noteCall{around, CallInfo{
			Kind: KindNotification, Op: n.name, Sock: l.sock, Served: true, Received: time.Now(), BytesIn: int64(h.size),
		}}
	}
	payload, err := l.r.payload(h.size, nil)
	if err != nil {
		return err
	}
	n.payload = payload
	if !l.servesNoteHere(&n) {
		l.endNotes()
		l.queueNote(n, true)
	} else if !l.serveNoteHere(n) {
		return errTakenOver
	}
	return nil
}

// servesNoteHere tells whether n can be handled on the goroutine that reads. If so, others wait until endNotes.
func (l *link) servesNoteHere(n *note) bool {
	if !n.past.pace.trusted() || l.batch.caller != nil {
		return false
	}
	if l.batch.notes {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.notes.serving || l.closed.Load() {
		return false
	}
	l.notes.serving, l.batch.notes = true, true
	return true
}

// endNotes lets other goroutines handle notifications again.
func (l *link) endNotes() {
	if !l.batch.notes {
		return
	}
	l.batch.notes = false
	l.mu.Lock()
	more := len(l.notes.waiting) > 0
	l.notes.serving = more
	ending := l.stopping || l.leaving || l.away
	l.mu.Unlock()
	if more {
		go l.serveNotes() // ends when no notification waits; Shutdown waits for it
	} else if ending {
		l.finished()
	}
}

// noteOf makes a note of what is to take its turn with notifications.
func noteOf(name string, call func()) note {
	return note{entry: &entry[noteFunc]{name: name, fn: noteFunc{plain: func(*Sock, string, []byte) { call() }}}}
}

// queueNote queues n to be handled after those that came before it. If none of them is left, a goroutine is started for
// it, or it fails without one where start is false.
func (l *link) queueNote(n note, start bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.notes.serving && (!start || l.closed.Load()) {
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

// serveNote handles a notification.
func (l *link) serveNote(n *note) {
	began := time.Now()
	returned := false
	defer func() {
		if !returned {
			l.logPanic(recover(), n.name)
		}
		if n.past != nil {
			n.past.pace.note(time.Since(began), 1)
		}
		l.pendingBytes.Add(-n.held())
		l.wakeReader()
	}()
	l.callNote(n)
	returned = true
}

// serveNoteHere is serveNote for the goroutine that reads. It tells whether that is still this one.
func (l *link) serveNoteHere(n note) (reading bool) {
	l.batch.notes = false // until this one is handled nobody else may handle any, not even who takes over
	timed := l.batch.sample()
	was := l.leave(atHandler)
	var began time.Time
	if timed {
		began = time.Now()
	}
	returned := false
	defer func() {
		if !returned {
			v := recover()
			l.logPanic(v, n.name)
			if v == nil { // runtime.Goexit: this goroutine ends
				l.takeOver(was)
			}
		}
		if timed {
			n.past.pace.note(time.Since(began), sampleRuns)
		}
		reading = l.back(was)
		if reading {
			l.batch.notes = true
			return
		}
		n.past.pace.note(watchTime, 1)
		go l.serveNotes() // ends when no notification waits; Shutdown waits for it
	}()
	l.callNote(&n)
	returned = true
	return false
}

func (l *link) callNote(n *note) {
	if n.through == nil && n.fn.plain != nil {
		n.fn.plain(l.sock, n.name, n.payload)
	} else {
		l.serveNoteContext(*n)
	}
}

// serveNoteContext handles a notification whose handler takes a context, or that interceptors are called for.
func (l *link) serveNoteContext(n note) {
	ctx, cancel := context.WithCancel(l.context())
	defer cancel()
	handle := func(ctx context.Context) error {
		if n.fn.withCtx != nil {
			n.fn.withCtx(ctx, l.sock, n.name, n.payload)
		} else {
			n.fn.plain(l.sock, n.name, n.payload)
		}
		return nil
	}
	if n.through == nil {
		handle(ctx)
	} else if err := chain(n.through.around, &n.through.info, handle)(ctx); err != nil {
		l.logFailure(ctx, err, n.name)
	}
}

// BufferNotify sends a notification with payload buf. Nothing tells whether the peer handles it. buf is the caller's
// again when BufferNotify returns.
func (s *Sock) BufferNotify(name string, buf []byte) error {
	return s.BufferNotifyContext(context.Background(), name, buf)
}

// BufferNotifyContext is BufferNotify that returns ctx.Err() if ctx ends before there is room to send the notification.
func (s *Sock) BufferNotifyContext(ctx context.Context, name string, buf []byte) error {
	around := s.around.load()
	if len(around) == 0 {
		return s.notify(ctx, name, buf)
	}
	info := &CallInfo{Kind: KindNotification, Op: name, Sock: s, Received: time.Now(), BytesOut: int64(len(buf))}
	return chain(around, info, func(ctx context.Context) error { return s.notify(ctx, name, buf) })(ctx)
}

func (s *Sock) notify(ctx context.Context, name string, buf []byte) error {
	for {
		err := ctx.Err()
		if err != nil {
			return err
		}
		l, err := s.openFor(ctx, name)
		if err != nil {
			return err
		}
		m := message{t: MsgTypeNotification, name: name, payload: buf}
		if err = ErrSockClosed; !l.takesNoCalls() {
			err = l.send(ctx, &m)
		}
		if err == nil || !s.elsewhere(l, &m) {
			return err
		}
	}
}

// Notify sends a notification with v as JSON.
func (s *Sock) Notify(name string, v any) error {
	return s.NotifyContext(context.Background(), name, v)
}

// NotifyContext is Notify that returns ctx.Err() if ctx ends before there is room to send the notification.
func (s *Sock) NotifyContext(ctx context.Context, name string, v any) error {
	buf, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.BufferNotifyContext(ctx, name, buf)
}
