package gotalk

import (
	"context"
	"errors"
	"time"
)

// NotifyPrepared sends a notification that was prepared. It does not wait for the peer: if that has left more unread than
// Limits.MaxUnsentBytes allows, the notification is not sent to it, and the error is ErrNotRead. A peer that goes on to
// read nothing is closed after Limits.WriteTimeout. Other errors are those of BufferNotify.
//
// The writing is left to a few goroutines which do nothing else for all connections, so that a loop over many Socks is
// quick, and each Sock gets what is sent shortly after each other with one write. A program that sends faster than the
// system takes it helps with the writing.
func (s *Sock) NotifyPrepared(p *PreparedNotification) error {
	around := s.around.load()
	if len(around) == 0 {
		return s.notifyPrepared(p)
	}
	info := &CallInfo{Kind: KindNotification, Op: p.name, Sock: s, Received: time.Now(), BytesOut: int64(len(p.payload))}
	return chain(around, info, func(context.Context) error { return s.notifyPrepared(p) })(context.Background())
}

func (s *Sock) notifyPrepared(p *PreparedNotification) error {
	l := s.link.Load()
	if s.client != nil {
		l, _ = s.client.openLink(alreadyOver)
	}
	if l == nil || l.takesNoCalls() {
		return ErrSockClosed
	}
	err := l.w.sendPrepared(p)
	if err != nil && err != ErrNotRead {
		return l.failed(err)
	}
	return err
}

// alreadyOver is for what must not wait.
var alreadyOver = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Broadcast sends a notification to all connections that are open, those excluded whose AcceptHandler has not returned. It
// waits for no peer, as NotifyPrepared does not. sent says how many get it, missed are those that don't since they have
// not read what was sent to them before.
func (s *Server) Broadcast(p *PreparedNotification) (sent int, missed []*Sock) {
	return s.socks.broadcast(p)
}

// Broadcast sends a notification to all connections that are open, those excluded whose OnConnect has not returned. See
// Server.Broadcast.
func (s *WebSocketServer) Broadcast(p *PreparedNotification) (sent int, missed []*Sock) {
	return s.socks.broadcast(p)
}

func (t *sockSet) broadcast(p *PreparedNotification) (sent int, missed []*Sock) {
	for _, s := range t.list() {
		if l := s.link.Load(); !l.reading.Load() {
			continue // it may not even have sent its version
		}
		switch err := s.NotifyPrepared(p); {
		case err == nil:
			sent++
		case errors.Is(err, ErrNotRead):
			missed = append(missed, s)
		}
	}
	return sent, missed
}

// list returns those that are there now.
func (t *sockSet) list() []*Sock {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*Sock, 0, len(t.socks))
	for s := range t.socks {
		all = append(all, s)
	}
	return all
}
