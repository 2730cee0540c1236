package gotalk

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Starting a goroutine for each request costs more than most handlers do. So handlers that have been quick run on the
// goroutine that reads, and so does the writing of their answers, many with one write. When that takes longer than it
// should, another goroutine takes the reading over, and the one that read goes on as if it had been started for the
// handler.

const (
	// A handler that takes no longer than quickTime is quick. It runs on the reading goroutine when it has been quick
	// trustedRuns times more than slow, where each slow run counts as slowRuns quick ones. More than keptRuns either way
	// are not remembered.
	quickTime   = 20 * time.Microsecond
	trustedRuns = 32
	slowRuns    = 128
	keptRuns    = 2 * slowRuns
	sampleRuns  = 16 // of which one is timed, when trusted: looking at the clock costs as much as the smallest handlers

	// watchTime is how often it is looked whether the reading goroutine is where it was before: then another one takes over.
	watchTime = 250 * time.Microsecond

	// batchTime is after how much of the handlers' time their answers are written, even if more requests are at hand.
	batchTime = 50 * time.Microsecond
)

// pace says how quick the handler of an operation has been of late. What it says is about right: goroutines that note
// something at the same time may overwrite each other.
type pace struct {
	runs atomic.Int32 // quick ones, less slow ones
	cost atomic.Int64 // nanoseconds that a quick one takes, about
}

func (p *pace) trusted() bool { return p.runs.Load() >= trustedRuns }

// note takes the time of a run into account, which stands for so many.
func (p *pace) note(took time.Duration, runs int32) {
	if took > quickTime {
		runs = -slowRuns
	} else {
		p.cost.Store(int64(took))
	}
	if old := p.runs.Load(); runs < 0 || old < keptRuns {
		p.runs.Store(min(max(old+runs, -slowRuns), keptRuns))
	}
}

// turn says where the goroutine is that reads. The lowest two bits of state are one of the places below, those above
// count the changes, so that it can be seen whether it is where it was. Only that goroutine and those that take over
// from it change state.
type turn struct {
	state atomic.Uint64
	armed atomic.Bool
	seen  atomic.Uint64 // by look

	mu    sync.Mutex
	timer *time.Timer // calls look while armed

	wake chan struct{} // for the goroutine that lets callers read; set under mu
	err  error         // that a caller has met while reading; owned by who reads
}

const (
	atReading = iota // or at what does not take long
	atHandler
	atWriting
	atRest // nobody reads

	turnPlace = 3
	turnStep  = 4
)

// errTakenOver ends reading on a goroutine that another one has taken it over from, errServed on one that has read what
// it wanted.
var (
	errTakenOver = errors.New("gotalk: another goroutine reads")
	errServed    = errors.New("gotalk: the result is there")
)

// leave is called by the reading goroutine before it does what may take long. Afterwards it calls back with the result.
func (l *link) leave(place uint64) (was uint64) {
	t := &l.turn
	was = t.state.Load()&^turnPlace + turnStep + place
	t.state.Store(was)
	if !t.armed.Load() && !t.armed.Swap(true) {
		l.lookLater()
	}
	return was
}

// lookLater sets the timer. The goroutine that does may not be the one that reads any more.
func (l *link) lookLater() {
	t := &l.turn
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil {
		t.timer = time.AfterFunc(watchTime, l.look)
	} else {
		t.timer.Reset(watchTime)
	}
}

// back tells whether the goroutine that has left still is the one that reads. If not, it must not touch anything that
// is the reader's.
func (l *link) back(was uint64) bool {
	return l.turn.state.CompareAndSwap(was, was&^turnPlace+turnStep)
}

// takeOver lets another goroutine read, if the one that does is still where it was when state was was.
func (l *link) takeOver(was uint64) {
	if place := was & turnPlace; place != atReading && place != atRest && l.back(was) {
		go l.readOn() // ends with the connection, or when another goroutine takes over
	}
}

// look is called every watchTime, as long as the reading goroutine leaves its place in between.
func (l *link) look() {
	t := &l.turn
	now := t.state.Load()
	seen := t.seen.Swap(now)
	if now == seen && now&turnPlace == atReading {
		t.armed.Store(false)
		if t.state.Load() == now || t.armed.Swap(true) {
			return
		}
	} else if now == seen && now&turnPlace == atRest {
		l.wakeResting()
	} else if now == seen {
		l.takeOver(now)
	}
	l.lookLater()
}

// nudge is called by a goroutine that is about to wait for what the peer sends: somebody must read. It may be the reading
// one that runs a handler: then another must take over.
func (l *link) nudge() {
	switch was := l.turn.state.Load(); was & turnPlace {
	case atHandler:
		runtime.Gosched()
		l.takeOver(was)
	case atRest:
		l.wakeResting()
	}
}

// batch is what the reading goroutine has done since it has last written.
type batch struct {
	answers int   // bytes of answers, with their headers
	spent   int64 // nanoseconds in handlers, about
	results int   // that calls got

	runs   uint  // ever
	serial int   // batches in a row of one result and nothing else
	caller *call // whose caller is the one who reads; or nil
	asked  bool  // the peer has asked for something since the last write
	notes  bool  // this goroutine is the one that handles notifications
	lent   bool  // a handler uses what lies in the reader's buffer
}

// sample tells whether to time the next run.
func (b *batch) sample() bool {
	b.runs++
	return b.runs%sampleRuns == 0
}

// add counts an answer, and tells whether more may be added before it is written.
func (b *batch) add(bytes int, p *pace) bool {
	b.answers += bytes + headerAhead
	b.spent += p.cost.Load()
	return b.answers < batchSize && b.spent < int64(batchTime)
}

// endBatch is called before the reading goroutine waits for more. It tells whether this is that goroutine still.
func (l *link) endBatch() (reading bool) {
	if l.batch.caller != nil {
		return true
	}
	l.endNotes()
	if l.batch.results != 1 || l.batch.asked {
		l.batch.serial = 0
	} else if l.batch.serial++; l.batch.serial < serialCalls {
		runtime.Gosched() // who got the result may make the next call before this goroutine looks in vain for more
	}
	l.batch.results, l.batch.asked = 0, false
	return l.batch.answers == 0 || l.flushHere()
}

// flushSoon sees to it that answers are written while this goroutine, the reading one, goes on.
func (l *link) flushSoon() {
	if l.batch.answers == 0 {
		return
	}
	l.batch.answers, l.batch.spent = 0, 0
	if l.w.claim() {
		go l.w.flush() // ends when all is written or the connection broken
	}
}

// flushHere writes answers. It tells whether this goroutine still reads after that.
func (l *link) flushHere() (reading bool) {
	l.batch.answers, l.batch.spent = 0, 0
	if !l.w.claim() {
		return true
	}
	was := l.leave(atWriting)
	l.w.flush()
	return l.back(was)
}
