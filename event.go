package gotalk

import "sync/atomic"

// event happens once. Its channel, which is closed when it does, is made when somebody waits for it, so that a link for
// whose events nobody waits has none.
type event struct {
	waited atomic.Pointer[eventChan]
}

type eventChan struct{ ch chan struct{} }

var happened = func() *eventChan {
	e := &eventChan{make(chan struct{})}
	close(e.ch)
	return e
}()

// ch returns a channel that is closed when the event has happened.
func (e *event) ch() <-chan struct{} {
	w := e.waited.Load()
	if w == nil {
		w = &eventChan{make(chan struct{})}
		if !e.waited.CompareAndSwap(nil, w) {
			w = e.waited.Load()
		}
	}
	return w.ch
}

// happen makes the event happen. It is called once.
func (e *event) happen() {
	if w := e.waited.Swap(happened); w != nil {
		close(w.ch)
	}
}
