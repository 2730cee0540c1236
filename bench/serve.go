package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// serve is the server's process: it serves one peer, and answers lines that it is asked on its standard input, until that
// ends.
func serve(name string, stdin io.Reader, stdout io.Writer) error {
	p, err := peerNamed(name)
	if err != nil {
		return err
	}
	s := &Server{}
	if s.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	fmt.Fprintln(stdout, s.Listener.Addr())
	lines, ended := make(chan string), make(chan error, 1)
	go func() { ended <- readLines(stdin, lines) }()                      // ends with the process
	go func() { ended <- s.control(lines, stdout) }()                     // as well
	go func() { ended <- fmt.Errorf("no more served: %w", p.Serve(s)) }() // as well
	return <-ended
}

// readLines ends at once when in does, whatever the server is at: nobody wants it any more.
func readLines(in io.Reader, lines chan<- string) error {
	r := bufio.NewScanner(in)
	for r.Scan() {
		lines <- r.Text()
	}
	return r.Err()
}

// control answers each line with one line.
func (s *Server) control(lines <-chan string, out io.Writer) error {
	for line := range lines {
		words := strings.Fields(line)
		n := 0
		if len(words) > 1 {
			n, _ = strconv.Atoi(words[1])
		}
		var answer any = "unknown"
		switch words[0] {
		case "usage":
			answer = usageNow()
		case "arrived":
			answer = s.await(int64(n))
		case "memory":
			answer = residentMemory()
		case "broadcast":
			answer = "sent"
			times, _ := strconv.Atoi(words[len(words)-1])
			for range times {
				if err := (*s.broadcast.Load())(pattern(n, 0)); err != nil {
					answer = err
				}
			}
		case "open":
			answer = s.open.Load()
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return nil
}

// await returns how many notifications have arrived since the server started: n, or less if no more come.
func (s *Server) await(n int64) int64 {
	const poll, patience = 100 * time.Microsecond, 3 * time.Second
	last, since := int64(-1), time.Now()
	for {
		now := s.arrived.Load()
		if now >= n || now == last && time.Since(since) > patience {
			return now
		}
		if now != last {
			last, since = now, time.Now()
		}
		time.Sleep(poll)
	}
}

// usage is what a process has used since it started.
type usage struct {
	Mallocs uint64
	CPU     int64 // nanoseconds, user and system
}

// String is read by parseUsage.
func (u usage) String() string { return fmt.Sprint(u.Mallocs, u.CPU) }

func parseUsage(s string) (u usage, err error) {
	_, err = fmt.Sscan(s, &u.Mallocs, &u.CPU)
	return u, err
}

func usageNow() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return usage{m.Mallocs, r.Utime.Nano() + r.Stime.Nano()}
}

// residentMemory is what this process has in memory after all garbage was given back, in bytes, or 0 if the system does
// not say.
func residentMemory() int64 {
	for range 2 { // what is in a sync.Pool is garbage the second time
		debug.FreeOSMemory()
	}
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	fmt.Sscan(string(b), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// pattern returns a payload whose first and last byte tell which one it is.
func pattern(size int, n int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte('a' + i%26)
	}
	mark(b, n)
	return b
}

// mark makes b the n-th payload.
func mark(b []byte, n int) {
	b[0], b[len(b)-1] = byte(n), byte(n>>8)
}
