package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// A short soak. make soak is a longer one.
func TestSoak(t *testing.T) {
	var out strings.Builder
	c := config{length: 2 * time.Second, every: time.Second, conns: 40, seed: rand.Uint64(), out: &out}
	require.NoError(t, run(c), out.String())
}

// What is documented of errors is in order, and nothing else.
func TestOutcome(t *testing.T) {
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	later, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		name string
	}{
		{later, nil, "right"},
		{later, wrong("an answer"), "wrong"},
		{later, fmt.Errorf("lost: %w", gotalk.ErrSockClosed), "closed"},
		{later, gotalk.ErrTimeout, "silent"},
		{over, context.DeadlineExceeded, "late"},
		{later, context.DeadlineExceeded, "unexpected"},
		{over, context.Canceled, "unexpected"},
		{later, &gotalk.Response{MsgType: gotalk.MsgTypeRetryRes}, "refused"},
		{later, &gotalk.Response{MsgType: gotalk.MsgTypeErrorRes, Data: []byte("text")}, "unexpected"},
		{later, gotalk.ErrInvalidMsg, "unexpected"},
		{later, gotalk.ErrStreamEnded, "unexpected"},
		{later, io.EOF, "unexpected"},
		{later, errors.New("any"), "unexpected"},
	} {
		o := outcomeOf(c.ctx, c.err)
		require.Equal(t, c.name, o.name, "%v", c.err)
		require.Equal(t, c.name == "wrong" || c.name == "unexpected", o.bad != nil)
	}
	s := gotalk.NewSock(nil)
	require.NoError(t, connectOutcome(later, s.ConnectContext(over, "tcp", "127.0.0.1:0", nil)).bad)
	require.Error(t, connectOutcome(later, gotalk.ErrInvalidMsg).bad)
}

// A call that is late, or ends in a way that is not in order, is a failure.
func TestVerdict(t *testing.T) {
	var s totals
	s.judge("call", outcome{name: "right"}, time.Second, time.Second)
	s.judge("into", outcome{name: "right"}, time.Second+limits.ReadTimeout, time.Second)
	require.NoError(t, s.verdict())
	s.judge("call", outcome{name: "right"}, time.Second+1, time.Second)
	require.ErrorContains(t, s.verdict(), "call: right, but")
	s.judge("typed", outcome{"wrong", io.EOF}, 0, time.Second)
	require.ErrorContains(t, s.verdict(), "typed: wrong: EOF")
	require.NotContains(t, s.unseen(), "call")
	require.Contains(t, s.unseen(), "typed")
	require.Contains(t, s.line(), "4 calls, 3 right, 1 wrong")
}

// The ledger knows what has come twice, out of order or not at all.
func TestLedger(t *testing.T) {
	var g ledger
	require.True(t, g.run("a"))
	require.False(t, g.run("a"))
	require.True(t, g.hasRun("a"))
	require.False(t, g.hasRun("b"))

	for _, n := range []numbered{{}, {1, 1, 0}, {2, 1, 0}, {1, 3, 1}, {}} {
		require.NoError(t, g.note(n.payload()))
	}
	require.ErrorContains(t, g.note(numbered{1, 3, 1}.payload()), "number 3 has come after number 3")
	require.ErrorContains(t, g.note(numbered{1, 4, 3}.payload()), "2 have come before number 4, and 3 were sent")
	require.Error(t, g.note(nil))
}

// Goroutines, files and memory that are left behind are found.
func TestLeaks(t *testing.T) {
	before := measure()
	for _, r := range []resources{{before.goroutines - 1, before.files, before.heap},
		{before.goroutines, before.files - 1, before.heap}, {before.goroutines, before.files, before.heap - 2*heapSlack}} {
		require.Error(t, r.covers(before))
	}
	require.NoError(t, before.covers(before))
}
