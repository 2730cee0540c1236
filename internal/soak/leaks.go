package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"time"
)

const (
	leakTime = 15 * time.Second // connections may linger for some seconds

	// heapSlack is what a process that has done much may use more than one that has not: the runtime keeps what there is of
	// goroutines that have ended, for others.
	heapSlack = 8 << 20
)

// resources is what a process uses.
type resources struct {
	goroutines int
	files      int // open ones; 0 where the system does not say
	heap       int64
}

func measure() (r resources) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // with the first the runtime opens files of its own
		l.Close()
	}
	for range 3 { // what is in pools goes with the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.heap = int64(m.HeapAlloc)
	r.goroutines = runtime.NumGoroutine()
	if files, err := os.ReadDir("/dev/fd"); err == nil {
		r.files = len(files)
	}
	return r
}

func (r resources) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d kB", r.goroutines, r.files, r.heap>>10)
}

// covers says what is used more after than before, which is r.
func (r resources) covers(after resources) error {
	switch {
	case after.goroutines > r.goroutines:
		return fmt.Errorf("%d goroutines are left behind:\n%s", after.goroutines-r.goroutines, stacks())
	case after.files > r.files:
		return fmt.Errorf("%d files are left open", after.files-r.files)
	case after.heap > r.heap+heapSlack:
		return fmt.Errorf("%d kB of memory are left behind", (after.heap-r.heap)>>10)
	}
	return nil
}

// awaitLike waits until no more is used than before, and says what is.
func awaitLike(before resources) (after resources, err error) {
	for deadline := time.Now().Add(leakTime); ; time.Sleep(100 * time.Millisecond) {
		after = measure()
		if err = before.covers(after); err == nil || time.Now().After(deadline) {
			return after, err
		}
	}
}
