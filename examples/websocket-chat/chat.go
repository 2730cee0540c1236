package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gotalk-go/gotalk"
)

// All that the chat keeps in memory is bounded.
const (
	maxMembers    = 500             // connections at once
	maxRooms      = 50              // with those that are always there
	maxHistory    = 100             // messages that a room remembers
	maxText       = 1000            // characters of a message
	maxName       = 24              // characters of the name of a person or a room
	maxQueue      = 256             // notifications that wait for one browser
	emptyRoomLife = 5 * time.Minute // of a room that somebody created

	// A member may do so many things at once, and then one more at each interval.
	burst    = 10
	interval = 500 * time.Millisecond
)

// refusal is an error that is meant for the person whose input it is about.
type refusal string

func (r refusal) Error() string { return string(r) }

// chat is the state of all rooms. Whatever a page shows comes to it as notifications through one queue, in the order in
// which it happened; requests only tell whether something could be done.
type chat struct {
	// mu guards everything below, in rooms and members too. It is held for moments: nothing is sent under it.
	mu       sync.Mutex
	rooms    []*room
	members  map[*member]struct{}
	stopping bool

	senders sync.WaitGroup
}

type room struct {
	name      string
	permanent bool
	first     int64 // one less than the id of the first message
	last      int64 // the id of the latest message
	history   []message
	members   []*member   // in the order in which they came
	vanishing *time.Timer // runs while nobody is here
}

func newChat() *chat {
	c := &chat{members: map[*member]struct{}{}}
	for _, name := range []string{"animals", "jokes", "golang"} {
		c.addRoom(name).permanent = true
	}
	return c
}

// addRoom adds a room whose message ids begin at the time, so that they grow even if the room, or this program, was
// there before: pages can tell what is new to them by its id.
func (c *chat) addRoom(name string) *room {
	now := time.Now().UnixMilli()
	r := &room{name: name, first: now, last: now, history: []message{}}
	c.rooms = append(c.rooms, r)
	return r
}

func (c *chat) handlers() *gotalk.Handlers {
	h := &gotalk.Handlers{}
	h.Handle("hello", func(s *gotalk.Sock, in hello) error {
		return c.do(s, func(m *member) error { return c.hello(m, in) })
	})
	h.Handle("enter", func(s *gotalk.Sock, room string) error {
		return c.do(s, func(m *member) error { return c.enter(m, room) })
	})
	h.Handle("say", func(s *gotalk.Sock, text string) error {
		return c.do(s, func(m *member) error { return c.say(m, text) })
	})
	h.Handle("rename", func(s *gotalk.Sock, name string) (string, error) {
		err := c.do(s, func(m *member) (err error) { name, err = c.rename(m, name); return err })
		return name, err
	})
	// A request, too: a page awaits it before it says something, as requests do not wait for notifications.
	h.Handle("typing", func(s *gotalk.Sock, on bool) error {
		return c.do(s, func(m *member) error {
			if m.room != nil {
				m.room.tell("typing", typing{person{m.user, m.name}, on}, m)
			}
			return nil
		})
	})
	return h
}

// do calls f for the member that a Sock is of, with the lock held, unless it does too much or has left: a handler may
// still run when its connection has ended.
func (c *chat) do(s *gotalk.Sock, f func(*member) error) error {
	m := s.UserData.(*member)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, here := c.members[m]; !here {
		return gotalk.ErrSockClosed
	}
	if !m.rate.allow() {
		return refusal("That was a lot at once. Please wait a moment.")
	}
	return f(m)
}

// join makes a member of a Sock, or returns nil if there are too many.
func (c *chat) join(s *gotalk.Sock) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping || len(c.members) >= maxMembers {
		return nil
	}
	m := &member{sock: s, queue: make(chan note, maxQueue)}
	s.UserData = m
	c.members[m] = struct{}{}
	c.senders.Go(m.sendQueued)
	return m
}

// leave is called when a member's connection has ended.
func (c *chat) leave(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, here := c.members[m]; here {
		delete(c.members, m)
		c.leaveRoom(m)
		close(m.queue)
	}
}

// stop tells the pages that the program ends, and waits until they are told or ctx ends.
func (c *chat) stop(ctx context.Context) {
	c.mu.Lock()
	c.stopping = true
	for m := range c.members {
		m.send("restart", nil)
		close(m.queue)
	}
	clear(c.members)
	for _, r := range c.rooms {
		r.members = nil
		if r.vanishing != nil {
			r.vanishing.Stop()
		}
	}
	c.mu.Unlock()
	told := make(chan struct{})
	go func() { c.senders.Wait(); close(told) }() // ends when all connections have
	select {
	case <-told:
	case <-ctx.Done():
	}
}

func (c *chat) hello(m *member, in hello) error {
	if m.room != nil || in.Key == "" {
		return refusal("Please reload the page.")
	}
	sum := sha256.Sum256([]byte(in.Key))
	m.user = hex.EncodeToString(sum[:8])
	for other := range c.members {
		if other != m && other.user == m.user { // its connection was lost, or the page was opened twice
			other.send("replaced", nil)
			other.user = ""
			c.leaveRoom(other)
		}
	}
	m.name = c.freeName(in.Name, m)
	list := []roomInfo{}
	for _, r := range c.rooms {
		list = append(list, r.info())
	}
	m.send("welcome", welcome{m.user, m.name, list})
	if c.enter(m, in.Room) != nil {
		return c.enter(m, c.rooms[0].name)
	}
	return nil
}

// enter takes a member into a room. If there is no such room it is created.
func (c *chat) enter(m *member, name string) error {
	name = roomName(name)
	i := slices.IndexFunc(c.rooms, func(r *room) bool { return r.name == name })
	switch {
	case m.user == "":
		return refusal("Please reload the page.")
	case name == "":
		return refusal("A room needs a name.")
	case utf8.RuneCountInString(name) > maxName:
		return refusal(fmt.Sprintf("The name of a room has at most %d characters.", maxName))
	case i < 0 && len(c.rooms) >= maxRooms:
		return refusal(fmt.Sprintf("There are %d rooms already. One that is empty vanishes after a while.", maxRooms))
	case i < 0:
		i = len(c.rooms)
		c.addRoom(name)
	}
	r := c.rooms[i]
	if m.room != r {
		c.leaveRoom(m)
		if r.vanishing != nil {
			r.vanishing.Stop()
		}
		m.room = r
		r.members = append(r.members, m)
	}
	c.tell("room", r.info(), nil)
	r.tell("people", r.people(), m)
	m.send("entered", entered{r.name, r.people(), r.history})
	return nil
}

func (c *chat) leaveRoom(m *member) {
	r := m.room
	if r == nil {
		return
	}
	m.room = nil
	r.members = slices.DeleteFunc(r.members, func(other *member) bool { return other == m })
	if len(r.members) == 0 && !r.permanent && !c.stopping {
		r.vanishing = time.AfterFunc(emptyRoomLife, func() { c.vanish(r) })
	}
	r.tell("people", r.people(), nil)
	c.tell("room", r.info(), nil)
}

// vanish removes a room in which nobody was for a while.
func (c *chat) vanish(r *room) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.rooms, r)
	if i >= 0 && len(r.members) == 0 { // otherwise somebody came at the last moment
		c.rooms = slices.Delete(c.rooms, i, i+1)
		c.tell("gone", r.name, nil)
	}
}

func (c *chat) say(m *member, text string) error {
	text = tidyText(text)
	n := utf8.RuneCountInString(text)
	switch {
	case m.room == nil:
		return refusal("Please reload the page.")
	case n == 0:
		return refusal("The message is empty.")
	case n > maxText:
		return refusal(fmt.Sprintf("A message has at most %d characters, this one has %d.", maxText, n))
	}
	r := m.room
	r.last++
	msg := message{r.last, m.user, m.name, text, time.Now().UnixMilli()}
	r.history = append(r.history, msg)
	if len(r.history) > maxHistory {
		r.history = slices.Delete(r.history, 0, 1)
	}
	r.tell("message", msg, nil)
	c.tell("room", r.info(), r)
	return nil
}

// rename returns the name as it is from now on.
func (c *chat) rename(m *member, name string) (string, error) {
	name = tidy(name)
	switch {
	case m.room == nil:
		return "", refusal("Please reload the page.")
	case name == "":
		return "", refusal("Please enter a name.")
	case utf8.RuneCountInString(name) > maxName:
		return "", refusal(fmt.Sprintf("A name has at most %d characters.", maxName))
	case c.taken(name, m):
		return "", refusal("Somebody here has that name already.")
	}
	m.name = name
	m.room.tell("people", m.room.people(), nil)
	return name, nil
}

// tell sends to all members, but for those in a room if one is given. A page that has not said hello yet knows nothing
// that could change.
func (c *chat) tell(name string, v any, except *room) {
	b := encode(v)
	for m := range c.members {
		if m.user != "" && (except == nil || m.room != except) {
			m.sendBytes(name, b)
		}
	}
}

// tell sends to all members in a room but one.
func (r *room) tell(name string, v any, except *member) {
	b := encode(v)
	for _, m := range r.members {
		if m != except {
			m.sendBytes(name, b)
		}
	}
}

func (r *room) info() roomInfo { return roomInfo{r.name, len(r.members), r.first, r.last} }

func (r *room) people() []person {
	list := []person{}
	for _, m := range r.members {
		list = append(list, person{m.user, m.name})
	}
	return list
}
