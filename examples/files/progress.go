package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// meter shows how far a transfer is: on a terminal in one line that changes, elsewhere by a line every few seconds.
type meter struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	name    string
	shown   time.Time // when the last line was written; before the first, when the transfer began
	at      int64     // bytes then
	rate    float64   // bytes per second, lately
	width   int       // of the line that is on the terminal
	written bool      // a line of this transfer
}

func newMeter(f *os.File) *meter {
	info, err := f.Stat()
	return &meter{w: f, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, now: time.Now}
}

// show tells how far it is; see client.progress.
func (m *meter) show(name string, done, size int64) {
	now := m.now()
	if name != m.name || done < m.at {
		m.clear()
		m.name, m.shown, m.at, m.rate, m.written = name, now, done, 0, false
		return
	}
	every := 5 * time.Second
	if m.terminal {
		every = 100 * time.Millisecond
	}
	passed := now.Sub(m.shown)
	if passed < every && (done < size || !m.written) || passed == 0 {
		return
	}
	rate := float64(done-m.at) / passed.Seconds()
	weight := min(1, passed.Seconds()/2) // of the newest: a rate that jumps about cannot be read
	if !m.written {
		weight = 1
	}
	m.rate += weight * (rate - m.rate)
	m.shown, m.at, m.written = now, done, true
	line := progressLine(name, done, size, m.rate)
	if !m.terminal {
		fmt.Fprintln(m.w, line)
		return
	}
	width := utf8.RuneCountInString(line)
	fmt.Fprint(m.w, "\r", line, strings.Repeat(" ", max(0, m.width-width)))
	m.width = width
}

// clear makes room for other output.
func (m *meter) clear() {
	if m.width > 0 {
		fmt.Fprint(m.w, "\r", strings.Repeat(" ", m.width), "\r")
	}
	m.width, m.name = 0, ""
}

// progressLine has at most 79 characters.
func progressLine(name string, done, size int64, rate float64) string {
	if short := []rune(name); len(short) > 24 {
		name = string(short[:11]) + "…" + string(short[len(short)-12:])
	}
	percent := int64(100)
	if size > 0 {
		percent = int64(float64(done) / float64(size) * 100)
	}
	line := fmt.Sprintf("%-24s %3d %%  %s of %s", name, percent, formatSize(done), formatSize(size))
	if rate > 0 {
		left := time.Duration(float64(size-done) / rate * float64(time.Second)).Round(time.Second)
		line += fmt.Sprintf("  %s/s  %s", formatSize(int64(rate)), left)
	}
	return line
}
