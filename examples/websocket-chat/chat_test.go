package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// page is what a browser is to the chat.
type page struct {
	*gotalk.Sock
	t     *testing.T
	notes chan note
	left  chan struct{} // closed when the chat knows that the page is gone
}

// open connects a page in memory, without saying hello.
func open(t *testing.T, c *chat) *page {
	ours, theirs := net.Pipe()
	served := gotalk.NewSock(c.handlers())
	m := c.join(served)
	require.NotNil(t, m)
	left := make(chan struct{})
	served.CloseHandler = func(*gotalk.Sock, int) { c.leave(m); close(left) }
	served.Adopt(theirs)
	go func() { // ends when the page is closed
		if served.Handshake() == nil {
			served.Read(gotalk.NoLimits)
		}
	}()

	p := &page{t: t, notes: make(chan note, 4*maxQueue), left: left}
	h := &gotalk.Handlers{}
	h.HandleBufferNotification("", func(_ *gotalk.Sock, name string, b []byte) { p.notes <- note{name, b} })
	p.Sock = gotalk.NewSock(h)
	require.NoError(t, p.ConnectReader(ours, gotalk.NoLimits))
	t.Cleanup(func() { p.Close(); <-left })
	return p
}

// visit opens a page and says hello for a person of that name.
func visit(t *testing.T, c *chat, name, room string) *page {
	p := open(t, c)
	require.NoError(t, p.call("hello", hello{Key: "key of " + name, Name: name, Room: room}))
	p.expect("entered", nil)
	return p
}

func (c *chat) roomCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.rooms)
}

// call makes a request whose result, if it has one, does not matter.
func (p *page) call(op string, in any) error {
	_, err := p.BufferRequest(op, encode(in))
	return err
}

// expect returns the next notification of that name, and drops those before it.
func (p *page) expect(name string, v any) {
	p.t.Helper()
	for n := range p.notes {
		if n.name != name {
			continue
		}
		if v != nil {
			require.NoError(p.t, json.Unmarshal(n.payload, v), string(n.payload))
		}
		return
	}
}

func TestConversation(t *testing.T) {
	c := newChat()
	ann, bob := visit(t, c, "Ann", "animals"), visit(t, c, "Bob", "animals")
	var people []person
	ann.expect("people", &people)
	require.Len(t, people, 2)
	require.Equal(t, "Bob", people[1].Name)

	var typist typing
	require.NoError(t, bob.call("typing", true))
	ann.expect("typing", &typist)
	require.Equal(t, typing{people[1], true}, typist)

	const text = "<b>one</b>\n\ttwo\u202e 👩‍👧"
	var got message
	require.NoError(t, bob.call("say", text+"  \n\n"))
	for _, p := range []*page{ann, bob} {
		p.expect("message", &got)
		require.Equal(t, "<b>one</b>\n two 👩‍👧", got.Text)
		require.Equal(t, people[1], person{got.User, got.Name})
		require.WithinDuration(t, time.Now(), time.UnixMilli(got.Time), time.Minute)
	}

	// Who comes later, or again, sees what was said.
	var in entered
	cleo := open(t, c)
	require.NoError(t, cleo.call("hello", hello{Key: "c", Name: "Cleo", Room: "animals"}))
	cleo.expect("entered", &in)
	require.Equal(t, []message{got}, in.Messages)
	require.Len(t, in.People, 3)

	bob.Close()
	for len(people) != 2 || people[1].Name != "Cleo" {
		ann.expect("people", &people)
	}
}

func TestRooms(t *testing.T) {
	c := newChat()
	ann, bob := visit(t, c, "Ann", ""), visit(t, c, "Bob", "jokes")
	var w welcome
	cleo := open(t, c)
	require.NoError(t, cleo.call("hello", hello{Key: "c", Room: strings.Repeat("x", maxName+1)}))
	cleo.expect("welcome", &w)
	require.NotEmpty(t, w.Name)
	require.Len(t, w.Rooms, 3)
	require.Equal(t, "animals", w.Rooms[0].Name)
	require.Equal(t, 1, w.Rooms[0].People)
	var in entered
	cleo.expect("entered", &in)
	require.Equal(t, "animals", in.Room, "where one gets who cannot have the room of one's choice")

	// A new room is shown to everybody, wherever they are.
	require.NoError(t, bob.call("enter", " #My  Room\n"))
	bob.expect("entered", &in)
	require.Equal(t, "my room", in.Room)
	require.NotNil(t, in.Messages)
	info := roomInfo{}
	for info.Name != "my room" {
		ann.expect("room", &info)
	}
	require.Equal(t, 1, info.People)

	// And so is that there are messages.
	require.NoError(t, bob.call("say", "hello?"))
	for info.Last == info.First {
		ann.expect("room", &info)
	}
	require.Equal(t, info.First+1, info.Last)

	require.ErrorContains(t, bob.call("enter", "\u200b"), "needs a name")
	require.ErrorContains(t, bob.call("enter", strings.Repeat("x", maxName+1)), "at most 24")
}

func TestNames(t *testing.T) {
	c := newChat()
	ann, other := visit(t, c, "Ann", ""), open(t, c)
	var w welcome
	require.NoError(t, other.call("hello", hello{Key: "other", Name: " ann\u0000\n", Room: "jokes"}))
	other.expect("welcome", &w)
	require.Equal(t, "ann 2", w.Name)

	var name string
	require.NoError(t, ann.Request("rename", "  Анна  Ω ", &name))
	require.Equal(t, "Анна Ω", name)
	var people []person
	for len(people) == 0 || people[0].Name != name {
		ann.expect("people", &people)
	}
	require.NoError(t, ann.Request("rename", "анна ω", &name), "it is taken by nobody else")
	require.NoError(t, other.Request("rename", "Ann", &name), "it was given up")
	require.ErrorContains(t, ann.call("rename", "ANN"), "already")
	require.ErrorContains(t, ann.call("rename", " "), "enter a name")
	require.ErrorContains(t, ann.call("rename", strings.Repeat("ä", maxName+1)), "at most 24")
	require.NoError(t, ann.call("rename", strings.Repeat("ä", maxName)))
}

func TestRandomNamesDiffer(t *testing.T) {
	c := newChat()
	for range len(adjectives)*len(animals) + 1 { // more than there are
		m := &member{}
		m.name = c.freeName("", m)
		require.NotEmpty(t, m.name)
		require.LessOrEqual(t, len([]rune(m.name)), maxName)
		require.False(t, c.taken(m.name, m))
		m.room = c.rooms[0]
		c.members[m] = struct{}{}
	}
}

func TestConnectingAgain(t *testing.T) {
	c := newChat()
	ann, again := visit(t, c, "Ann", "golang"), visit(t, c, "Ann", "golang") // the same key
	ann.expect("replaced", nil)
	require.ErrorContains(t, ann.call("say", "x"), "reload")
	require.NoError(t, again.call("say", "x"))
	var got message
	again.expect("message", &got)
	require.Equal(t, "Ann", got.Name)
	require.Len(t, c.rooms[2].members, 1)
}

func TestBadInput(t *testing.T) {
	c := newChat()
	p := open(t, c)
	for _, op := range []string{"enter", "say", "rename"} {
		require.ErrorContains(t, p.call(op, "x"), "reload", "%s before hello", op)
	}
	require.ErrorContains(t, p.call("hello", hello{}), "reload")
	require.ErrorContains(t, p.call("hello", "x"), "parameter")
	require.NoError(t, p.call("typing", true))
	ann := visit(t, c, "Ann", "")
	require.ErrorContains(t, ann.call("hello", hello{Key: "again"}), "reload")
	require.ErrorContains(t, ann.call("say", " \n\x00 "), "empty")
	require.ErrorContains(t, ann.call("say", strings.Repeat("ß", maxText+1)), "has 1001")
	require.NoError(t, ann.call("say", strings.Repeat("ß", maxText)))
	require.ErrorContains(t, ann.call("typing", "nonsense"), "parameter")
	require.NoError(t, ann.call("say", "still here"))
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChat()
		ann := visit(t, c, "Ann", "")
		for i := range maxHistory + 5 {
			require.NoError(t, ann.call("say", fmt.Sprint(i)))
			time.Sleep(interval)
		}
		require.Len(t, c.rooms[0].history, maxHistory)
		require.Equal(t, "5", c.rooms[0].history[0].Text)
		for i := c.roomCount(); i < maxRooms; i++ {
			require.NoError(t, ann.call("enter", fmt.Sprint(i)))
			time.Sleep(interval)
		}
		require.ErrorContains(t, ann.call("enter", "one more"), "50 rooms")
		require.NoError(t, ann.call("enter", "animals"))

		// All the rooms that she made vanish.
		time.Sleep(emptyRoomLife)
		synctest.Wait()
		require.Equal(t, 3, c.roomCount())
		ann.expect("gone", nil)

	})
}

func TestRoomStaysWhileSomebodyComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChat()
		ann := visit(t, c, "Ann", "mine")
		require.NoError(t, ann.call("enter", "jokes"))
		time.Sleep(emptyRoomLife - time.Second)
		require.NoError(t, ann.call("enter", "mine"))
		time.Sleep(2 * time.Second)
		require.NoError(t, ann.call("enter", "jokes"))
		time.Sleep(emptyRoomLife - time.Second)
		require.Equal(t, 4, c.roomCount())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, 3, c.roomCount())
	})
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChat()
		ann, bob := visit(t, c, "Ann", ""), visit(t, c, "Bob", "")
		time.Sleep(time.Minute)
		for i := range 3 * burst {
			if err := ann.call("say", "x"); i < burst {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "wait a moment")
			}
		}
		require.NoError(t, bob.call("say", "each has a limit of one's own"))
		time.Sleep(interval)
		require.NoError(t, ann.call("say", "x"))
		require.Error(t, ann.call("say", "x"))
	})
}

// A browser that reads nothing must neither delay the others nor take memory for ever.
func TestSlowBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChat()
		ann, bob := visit(t, c, "Ann", ""), visit(t, c, "Bob", "")
		ours, theirs := net.Pipe()
		slow := gotalk.NewSock(c.handlers())
		m := c.join(slow)
		left := make(chan struct{})
		slow.CloseHandler = func(*gotalk.Sock, int) { c.leave(m); close(left) }
		slow.Adopt(theirs)
		go io.CopyN(ours, strings.NewReader("01"), 2)
		go io.ReadFull(ours, make([]byte, 2)) // both end with the handshake
		require.NoError(t, slow.Handshake())
		go slow.Read(&gotalk.Limits{MaxUnsentBytes: 1 << 10, WriteTimeout: 24 * time.Hour}) // ends when it is disconnected
		c.mu.Lock()
		require.NoError(t, c.hello(m, hello{Key: "slow", Name: "Slow"}))
		c.mu.Unlock()

		for i := range 2 * maxQueue {
			require.NoError(t, ann.call("say", fmt.Sprint(i)))
			var got message
			bob.expect("message", &got)
			require.Equal(t, fmt.Sprint(i), got.Text)
			time.Sleep(interval)
		}
		<-left
		require.Len(t, c.rooms[0].members, 2)
		ours.Close()
	})
}

func TestStop(t *testing.T) {
	c := newChat()
	ann := visit(t, c, "Ann", "mine")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c.stop(ctx)
	require.NoError(t, ctx.Err())
	ann.expect("restart", nil)
	require.ErrorContains(t, ann.call("say", "x"), "closed")
	require.Nil(t, c.join(gotalk.NewSock(nil)))
}

func TestStopDoesNotWaitForSlowBrowsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChat()
		ours, theirs := net.Pipe()
		slow := gotalk.NewSock(c.handlers())
		m := c.join(slow)
		slow.Adopt(theirs)
		c.mu.Lock()
		m.send("x", strings.Repeat("x", 3<<20))
		m.send("x", strings.Repeat("x", 3<<20))
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.stop(ctx)
		require.Error(t, ctx.Err())
		slow.Close()
		ours.Close()
		c.senders.Wait()
	})
}

func TestHandlersOfLostConnectionsDoNothing(t *testing.T) {
	c := newChat()
	s := gotalk.NewSock(nil)
	m := c.join(s)
	c.leave(m)
	c.leave(m)
	require.ErrorIs(t, c.do(s, func(*member) error { return nil }), gotalk.ErrSockClosed)
}
