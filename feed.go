package gotalk

import (
	"sync"
	"time"
)

// feedGrace is how long what came before the connection ended waits for a consumer after that.
const feedGrace = 30 * time.Second

// feed hands values to a channel in order without holding up the one who brings them: what the channel does not take at
// once is queued, and a goroutine passes it on.
type feed[T any] struct {
	ch    chan T
	owned bool          // ch is closed after the last value
	link  *link         // whose feedBytes counts what is queued
	stop  chan struct{} // closed when the consumer is gone

	mu        sync.Mutex
	queue     []sized[T]
	bytes     int
	pumping   bool
	ended     bool // nothing comes any more
	stopped   bool // nobody wants it any more
	uncounted bool // the call is over: what is queued is its maker's
}

type sized[T any] struct {
	v T
	n int
}

// itemOverhead is what a queued message costs beside its payload.
const itemOverhead = 64

func newFeed[T any](l *link, ch chan T, owned bool) *feed[T] {
	return &feed[T]{ch: ch, owned: owned, link: l, stop: make(chan struct{})}
}

// put hands over v, which holds n bytes.
func (f *feed[T]) put(v T, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || f.stopped {
		return
	}
	if !f.pumping {
		select {
		case f.ch <- v:
			return
		default:
		}
	}
	n += itemOverhead
	f.queue = append(f.queue, sized[T]{v, n})
	f.bytes += n
	f.link.feedBytes.Add(int64(n))
	if !f.pumping {
		f.pumping = true
		go f.pump() // ends when the queue is empty, the consumer is gone, or some time after the connection
	}
}

// end says that nothing more comes. What is queued is still handed over.
func (f *feed[T]) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.ended = true
	if f.owned && !f.pumping {
		close(f.ch)
	}
}

// finish is end for a call of ours: what is queued no longer counts, as it is for the caller to collect. If instead is
// not nil it takes the place of what is queued.
func (f *feed[T]) finish(instead *T) {
	f.mu.Lock()
	if !f.stopped {
		f.link.feedBytes.Add(int64(-f.bytes))
		f.bytes, f.uncounted = 0, true
		if instead != nil {
			f.queue = []sized[T]{{v: *instead}}
			if !f.pumping {
				f.pumping = true
				go f.pump()
			}
		}
	}
	f.mu.Unlock()
	f.end()
	f.link.wakeReader()
}

// drop says that nobody wants what is queued or comes later.
func (f *feed[T]) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stopped {
		f.stopped = true
		close(f.stop)
		f.forgetLocked()
	}
}

// forgetLocked empties the queue.
func (f *feed[T]) forgetLocked() {
	f.link.feedBytes.Add(int64(-f.bytes))
	f.queue, f.bytes = nil, 0
	f.link.wakeReader()
}

// held returns how many bytes are queued.
func (f *feed[T]) held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

func (f *feed[T]) pump() {
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			f.pumping = false
			if f.ended && f.owned {
				close(f.ch)
			}
			f.mu.Unlock()
			return
		}
		next := f.queue[0]
		f.queue[0] = sized[T]{}
		f.queue = f.queue[1:]
		f.mu.Unlock()

		taken := f.hand(next.v)

		f.mu.Lock()
		if !f.stopped && !f.uncounted {
			f.bytes -= next.n
			f.link.feedBytes.Add(int64(-next.n))
			if !taken {
				f.forgetLocked()
			}
		}
		f.mu.Unlock()
		f.link.wakeReader()
	}
}

// hand gives v to the consumer, and tells whether it was taken before the consumer was gone.
func (f *feed[T]) hand(v T) bool {
	select {
	case f.ch <- v:
		return true
	case <-f.stop:
		return false
	case <-f.link.done:
	}
	grace := time.NewTimer(feedGrace)
	defer grace.Stop()
	select {
	case f.ch <- v:
		return true
	case <-f.stop:
	case <-grace.C:
	}
	return false
}
