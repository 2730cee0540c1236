package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Peers that do not work, for the tests of what becomes of that.
func registerFakes() {
	all := func(*Work) bool { return true }
	fakes := []*Peer{
		{
			Name:  "fake that fails",
			Serve: func(*Server) error { return errors.New("no such luck") },
			Dial:  func(string) (*Conn, error) { return nil, errors.New("cannot dial") },
		},
		{
			Name:  "fake that hangs",
			Serve: func(s *Server) error { return tell(s.Listener.Addr().String()) },
			Dial:  func(string) (*Conn, error) { select {} },
		},
		{
			Name:  "fake that loses notifications",
			Serve: func(*Server) error { select {} },
			Dial:  func(string) (*Conn, error) { return &Conn{Notify: func([]byte) error { return nil }}, nil },
		},
	}
	for _, p := range fakes {
		p.Group, p.Does = Ceilings+1, all
		register(p)
	}
}

func isFake(p *Peer) bool { return strings.HasPrefix(p.Name, "fake") }

// tellTo is the environment variable with the address of who wants to know.
const tellTo = "BENCH_TEST_TELL"

func tell(what string) error {
	c, err := net.Dial("tcp", os.Getenv(tellTo))
	if err != nil {
		return err
	}
	if _, err := c.Write([]byte(what + "\n")); err != nil {
		return err
	}
	select {} // and the connection stays open until the process is gone
}

func testReport(t *testing.T, work string, names ...string) *Report {
	r := &Report{Quick: true, Base: "net/rpc gob", Rounds: 1}
	for _, name := range names {
		p, err := peerNamed(name)
		require.NoError(t, err)
		r.Peers = append(r.Peers, p)
	}
	for _, w := range works(true) {
		if w.Name == work {
			r.Works = append(r.Works, w)
		}
	}
	require.Len(t, r.Works, 1)
	return r
}

func silent(t *testing.T) *progress {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return newProgress(f)
}

func TestOthersAreMeasuredWhenAPeerFails(t *testing.T) {
	r := testReport(t, "25 B, 1 in flight", "fake that fails", "net/rpc gob")
	require.NoError(t, r.run(t.Context(), silent(t)))
	require.Len(t, r.Failures, 1)
	text := r.Text()
	require.Contains(t, text, "FAILED: fake that fails, 25 B, 1 in flight, round 1: ")
	require.Regexp(t, `25 B, 1 in flight +failed +`, text)
	require.Regexp(t, `[0-9.]+k?  1\.00x`, text)
}

func TestLostNotificationsAreNoticed(t *testing.T) {
	r := testReport(t, "25 B notifications", "fake that loses notifications")
	require.NoError(t, r.run(t.Context(), silent(t)))
	require.Len(t, r.Failures, 1)
	require.Contains(t, r.Failures[0], "0 of 64 notifications arrived")
}

// Both processes are killed, also when it is ctrl-C that ends it.
func TestAHangingServerIsKilled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	t.Setenv(tellTo, l.Addr().String())
	ctx, stop := context.WithCancel(t.Context())
	r := testReport(t, "25 B, 1 in flight", "fake that hangs", "net/rpc gob")
	ran := make(chan error, 1)
	go func() { ran <- r.run(ctx, silent(t)) }()
	c, err := l.Accept() // the server is there
	require.NoError(t, err)
	defer c.Close()
	told := bufio.NewReader(c)
	_, err = told.ReadString('\n')
	require.NoError(t, err)
	stop()
	require.ErrorContains(t, <-ran, "interrupted")
	_, err = told.ReadByte() // waits until it is gone
	require.Error(t, err)
	require.Empty(t, r.Failures)
	require.NotContains(t, r.Text(), "failed")
}

func TestReportOfWhatMatches(t *testing.T) {
	r, err := newReport(true, "^gotalk$", "64 in flight", "net/rpc gob")
	require.NoError(t, err)
	var names []string
	for _, p := range r.Peers {
		names = append(names, p.Name)
	}
	require.Equal(t, []string{"gotalk", "net/rpc gob"}, names)
	require.Len(t, r.Works, 3)

	r, err = newReport(true, "WebSocket", "broadcast", "net/rpc gob")
	require.NoError(t, err)
	require.Equal(t, "gorilla", r.baseOf(r.Works[0]))
	require.Len(t, r.Peers, 2)

	for _, bad := range [][3]string{{"(", "", "gotalk"}, {"", "(", "gotalk"}, {"", "", "nobody"}, {"nobody", "nothing", "gotalk"}} {
		_, err = newReport(true, bad[0], bad[1], bad[2])
		require.Error(t, err, bad)
	}
}

func TestProgressExpectsTheRestToBeAsFarOffThePlan(t *testing.T) {
	p := &progress{left: time.Minute, began: time.Now().Add(-20 * time.Second)}
	require.Equal(t, "1:00", clock(p.remaining()))
	p.done(10 * time.Second)
	require.InDelta(t, 100, p.remaining().Seconds(), 5)
}
