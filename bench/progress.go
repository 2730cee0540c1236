package main

import (
	"fmt"
	"os"
	"time"
)

// progress says what runs now, and how long it is going to take: in one line that changes on a terminal, or else in one line
// for each work of a round.
type progress struct {
	out      *os.File
	terminal bool
	work     string
	began    time.Time
	left     time.Duration // as it was planned
	spent    time.Duration // as it was planned, too
}

func newProgress(out *os.File) *progress {
	info, err := out.Stat()
	return &progress{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, began: time.Now()}
}

func (p *progress) begin(round, work, peer string) {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s · %s · %s · %s left", round, work, peer, clock(p.remaining()))
	} else if work != p.work {
		fmt.Fprintf(p.out, "%s · %s · %s left\n", round, work, clock(p.remaining()))
	}
	p.work = work
}

// done is told what was planned for what is done now.
func (p *progress) done(planned time.Duration) {
	p.left -= planned
	p.spent += planned
}

// remaining expects the rest to be as much off the plan as what was done.
func (p *progress) remaining() time.Duration {
	if p.spent == 0 {
		return p.left
	}
	return time.Duration(float64(p.left) * float64(time.Since(p.began)) / float64(p.spent))
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func clock(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
