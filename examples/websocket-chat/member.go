package main

import (
	"encoding/json"
	"time"

	"github.com/gotalk-go/gotalk"
)

// member is a connection. room is nil until it has said hello, and after it left.
type member struct {
	sock  *gotalk.Sock
	queue chan note // closed when the member has left
	user  string    // the same whenever this page connects, and known to all
	name  string
	room  *room
	rate  meter
}

type note struct {
	name    string
	payload []byte
}

func (m *member) send(name string, v any) { m.sendBytes(name, encode(v)) }

// sendBytes queues a notification, and never waits: a browser that is so slow that its queue is full is disconnected. It
// will connect again and get what it missed. The lock is held, which closing may need.
func (m *member) sendBytes(name string, payload []byte) {
	select {
	case m.queue <- note{name, payload}:
	default:
		go m.sock.Close() // returns at once, after leave
	}
}

// sendQueued sends what is queued, until the member leaves.
func (m *member) sendQueued() {
	for n := range m.queue {
		m.sock.BufferNotify(n.name, n.payload) // after the connection's end an error, at once
	}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // all of our types can be encoded
	}
	return b
}

// meter is a rate limit. It begins with room for a burst.
type meter struct{ paidUntil time.Time }

func (m *meter) allow() bool {
	now := time.Now()
	if m.paidUntil.Before(now) {
		m.paidUntil = now
	}
	if m.paidUntil.Sub(now) > (burst-1)*interval {
		return false
	}
	m.paidUntil = m.paidUntil.Add(interval)
	return true
}
