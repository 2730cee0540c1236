package main

import (
	"sync/atomic"
	"time"
)

const (
	lagEvery = 20 * time.Millisecond // a sample is taken

	// lagSteps is about how many goroutines run one after the other for a call that ends because its time is over.
	lagSteps = 5

	// lagPause is how many times longer calls wait for each other than goroutines do: a machine that is too slow for all of
	// them shall be given less to do, or else all that it does comes too late.
	lagPause = 20
)

// lag says how busy the machine is: by how much a goroutine runs later than it might. All of it may be used concurrently.
type lag struct {
	recent, worst atomic.Int64 // nanoseconds
}

// watch takes samples until stop is closed.
func (l *lag) watch(stop <-chan struct{}) {
	tick := time.NewTimer(lagEvery)
	defer tick.Stop()
	for {
		due := time.Now().Add(lagEvery)
		tick.Reset(lagEvery)
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		behind := max(0, int64(time.Since(due)))
		l.recent.Store(max(behind, l.recent.Load()*7/8))
		l.worst.Store(max(behind, l.worst.Load()))
	}
}

// slack is how much later than it should something may end.
func (l *lag) slack() time.Duration { return leastSlack + lagSteps*time.Duration(l.worst.Load()) }

// pause is how much longer than else to wait between calls.
func (l *lag) pause() time.Duration { return lagPause * time.Duration(l.recent.Load()) }
