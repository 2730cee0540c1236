package gotalk_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// wireEnd is the end of a random program's connection that is the program itself: it says messages in any order, whole or
// not, and checks that what it hears is in order all the same.
type wireEnd struct {
	*play
	p       *peer
	greeted bool        // what we say at first says what we know
	writes  chan string // each is one write
	later   string      // what is to be written in front of the next message

	mu     sync.Mutex
	reads  *sync.Cond
	paused bool
	asked  map[string]*asking // requests of ours, by id
	heard  map[string]*hearing
	order  []string // ids of requests that we have heard
	ended  bool     // the other end has said a protocol error
}

// asking is what there is of our requests with one id.
type asking struct {
	sent             int  // requests
	last, errs, ends int  // R or e; E; empty S
	begun, open      bool // one of them is a stream; and its input has not ended
}

// hearing is a request of the other end's.
type hearing struct {
	stream   bool
	ended    bool // its input
	answered bool
	windowed bool // it is not what is put together
	credit   int  // what the other end may send
}

func (x *play) newWireEnd(p *peer, greets bool) *wireEnd {
	w := &wireEnd{
		play: x, p: p, greeted: !x.plain, writes: make(chan string, 10*longestProgram),
		asked: map[string]*asking{}, heard: map[string]*hearing{},
	}
	w.reads = sync.NewCond(&w.mu)
	writes := w.writes
	go func() { // ends when the test closes writes
		for m := range writes {
			p.trySay(m)
		}
		p.w.nc.Close()
	}()
	go w.hear(greets) // ends with the connection
	if w.greeted {
		w.writes <- notification("gotalk:hello", helloTCP)
	}
	return w
}

func (w *wireEnd) do() {
	id := fmt.Sprint("our", w.next(6))
	switch what := w.next(32); {
	case what < 6:
		w.ask("r", id, pick(w.play, requestOps...))
	case what < 10:
		w.ask("s", id, pick(w.play, append(streamingOps, "echo", "wait")...))
	case what < 15:
		w.part(id, w.size())
	case what < 21:
		w.answer()
	case what == 21:
		w.say(notification(pick(w.play, "note", "sleep", "nobody"), zeros(w.size())))
	case what == 22:
		w.say(notification("gotalk:cancel", pick(w.play, id, "none")))
	case what == 23:
		w.grant(pick(w.play, "S", "p"), id, pick(w.play, 1000, window, 0))
	case what == 24:
		w.say(notification("gotalk:meta", id+pick(w.play, `{"timeout_ms":5}`, `{"size":3000}`, `{"a":"b"}`, `{"size":1e9}`)))
	case what == 25:
		w.say("h000000000000")
	case what < 28:
		w.pass()
	case what == 28:
		w.mu.Lock()
		w.paused = w.slow
		w.mu.Unlock()
	case what == 29:
		w.resume()
	case what == 30:
		a := w.asking("many")
		w.mu.Lock()
		a.sent += 40
		w.mu.Unlock()
		w.say(strings.Repeat(request("many", "echo", 2)+"hi", 40))
	default:
		w.doRarely(id)
	}
}

// doRarely does what ends connections.
func (w *wireEnd) doRarely(id string) {
	switch w.next(8) {
	case 1:
		w.offended.Store(true)
		n := w.next(20)
		w.say(string(w.rest[:min(n, len(w.rest))]))
	case 2:
		w.offended.Store(true)
		w.say("f0000000" + pick(w.play, "0", "3", "9"))
	case 3:
		w.over = true
		w.say(notification("gotalk:goaway", `{"after_ms":1}`))
	case 4:
		w.over = true
		w.close()
	case 5:
		w.offended.Store(true)
		name := "gotalk:" + pick(w.play, "hello", "credit", "meta", "cancel")
		w.say(notification(name, pick(w.play, "{}", "", "[]", "p....0000000x")))
	}
}

// say says a message, whole, or in part and the rest with the next one.
func (w *wireEnd) say(m string) {
	m = w.later + m
	w.later = ""
	if cut := w.next(8); cut == 1 {
		at := w.next(len(m) + 1)
		m, w.later = m[:at], m[at:]
	}
	w.write(m)
}

func (w *wireEnd) write(m string) {
	if m != "" && w.writes != nil {
		select {
		case w.writes <- m:
		default:
		}
	}
}

func (w *wireEnd) asking(id string) *asking {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked[id] == nil {
		w.asked[id] = &asking{}
	}
	return w.asked[id]
}

// ask makes a request.
func (w *wireEnd) ask(t, id, op string) {
	a, size := w.asking(id), w.size()
	w.mu.Lock()
	if t == "s" && a.most() != a.sent { // two at once
		w.offended.Store(true)
	}
	a.sent++
	a.begun, a.open = a.begun || t == "s", a.open || t == "s"
	w.mu.Unlock()
	w.say(t + request(id, op, size)[1:] + zeros(size))
}

// part says a part of a request.
func (w *wireEnd) part(id string, size int) {
	a := w.asking(id)
	w.mu.Lock()
	if !a.begun && !w.greeted {
		w.offended.Store(true)
	}
	a.open = a.open && size > 0
	w.mu.Unlock()
	w.say(part("p", id, size) + zeros(size))
}

// answer says a result for a request that was heard, which may have had one.
func (w *wireEnd) answer() {
	synctest.Wait()
	id := "none"
	w.mu.Lock()
	if n := len(w.order); n > 0 {
		id = w.order[n-1-w.next(n)]
	}
	w.mu.Unlock()
	size := w.size()
	switch w.next(5) {
	case 0:
		w.say(part("R", id, size) + zeros(size))
	case 1:
		w.say(part("E", id, 2) + "no")
	case 2:
		w.say("e" + id + "0000000500000004wait")
	case 3:
		w.say(part("S", id, max(size, 1)) + zeros(max(size, 1)))
	default:
		w.say(part("S", id, 0))
	}
}

func (w *wireEnd) grant(dir, id string, n int) {
	w.mu.Lock()
	if len(w.order) > 0 && dir == "p" {
		id = w.order[len(w.order)-1]
		w.heard[id].credit += n
	}
	w.mu.Unlock()
	w.say(notification("gotalk:credit", fmt.Sprintf("%s%s%08x", dir, id, n)))
}

func (w *wireEnd) resume() {
	w.mu.Lock()
	w.paused = false
	w.mu.Unlock()
	w.reads.Broadcast()
}

func (w *wireEnd) close() {
	w.resume()
	if w.writes != nil {
		close(w.writes)
		w.writes = nil
	}
}

// settle ends our streams, and answers what was not.
func (w *wireEnd) settle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write(w.later)
	w.later = ""
	for _, id := range slices.Sorted(maps.Keys(w.asked)) {
		if a := w.asked[id]; a.open {
			a.open = false
			w.write(part("p", id, 0))
		}
		w.write(notification("gotalk:credit", "S"+id+"0fffffff"))
	}
	for _, id := range w.order {
		if a := w.heard[id]; !a.answered {
			a.answered = true
			w.write(part("E", id, 3) + "end")
		}
	}
	w.write("h000000000000")
}

// hear takes what the other end says. One that greets may say hello first.
func (w *wireEnd) hear(greets bool) {
	for {
		w.mu.Lock()
		for w.paused {
			w.reads.Wait()
		}
		w.mu.Unlock()
		r, err := w.p.read(false)
		if err != nil {
			return
		}
		w.mu.Lock()
		assert.False(w, w.ended, "a message after a protocol error")
		w.take(string(bytes.Join(r.frames, nil)), greets)
		w.mu.Unlock()
	}
}

func (w *wireEnd) take(m string, greets bool) {
	id := m[1:min(5, len(m))]
	switch m[0] {
	case 'R', 'E', 'e', 'S':
		a := w.asked[id]
		if !assert.NotNil(w, a, "a result for nobody: %.40q", m) {
			return
		}
		before := a.least()
		switch {
		case m[0] == 'E':
			a.errs++
		case m[0] != 'S':
			a.last++
		case m[5:13] == "00000000":
			a.ends++
		default:
			assert.Less(w, before, a.sent, "a part after the last one: %.40q", m)
		}
		if w.greeted {
			assert.LessOrEqual(w, a.most(), a.sent, "one result too many: %.40q", m)
		}
		assert.LessOrEqual(w, a.least(), a.sent, "one result too many: %.40q", m)
	case 'r', 's':
		assert.Nil(w, w.heard[id], "the same id again: %.40q", m)
		w.heard[id] = &hearing{stream: m[0] == 's', windowed: w.greeted && len(m) < 60_000, credit: window}
		w.order = append(w.order, id)
	case 'p':
		h := w.heard[id]
		if assert.True(w, h != nil && h.stream && !h.ended, "a part of nothing: %.40q", m) {
			n := len(m) - len("p....00000000")
			h.ended = n == 0
			inWindow := n <= h.credit || n > window/2 && h.credit >= window/2
			assert.True(w, inWindow || !h.windowed, "%d bytes where %d may be sent", n, h.credit)
			h.credit -= n
		}
	case 'n':
		if strings.HasPrefix(m[4:], "gotalk:") && !(greets && strings.HasPrefix(m[4:], "gotalk:hello")) {
			assert.True(w, w.greeted || w.offended.Load(), "to a peer that has not said hello: %.40q", m)
		}
	case 'f':
		w.ended = true
	}
}

// least and most are how many requests what came may have ended: an old peer may be sent an empty part beside an error.
func (a *asking) most() int  { return a.last + a.errs + a.ends }
func (a *asking) least() int { return a.most() - min(a.errs, a.ends) }

// checkReplies looks whether each request has had its one reply.
func (w *wireEnd) checkReplies() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, a := range w.asked {
		assert.LessOrEqual(w, a.least(), a.sent, "too many replies to %s", id)
		if w.greeted {
			assert.Equal(w, a.sent, a.most(), "replies to %s", id)
		} else {
			assert.GreaterOrEqual(w, a.most(), a.sent, "replies are missing to %s", id)
		}
	}
}
