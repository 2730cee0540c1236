package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// mostFailures is how many failures are told.
const mostFailures = 10

// totals counts what has come of calls.
type totals struct {
	mu       sync.Mutex
	counts   map[string]map[string]int // by kind and outcome
	latest   map[string]time.Duration  // by how much at the most a call has ended after its time, by kind
	failures []error
}

// judge takes into account how a call has ended, and by how much after its time, which may be slack.
func (t *totals) judge(kind string, o outcome, late, slack time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts, t.latest = map[string]map[string]int{}, map[string]time.Duration{}
	}
	if t.counts[kind] == nil {
		t.counts[kind] = map[string]int{}
	}
	t.counts[kind][o.name]++
	t.latest[kind] = max(t.latest[kind], late)
	if o.bad != nil {
		t.failLocked(fmt.Errorf("%s: %s: %w", kind, o.name, o.bad))
	}
	if kind == "into" {
		late -= limits.ReadTimeout // by which BufferRequestInto may take longer
	}
	if late > slack {
		t.failLocked(fmt.Errorf("%s: %s, but %v after its time", kind, o.name, late))
	}
}

// failf takes something else into account that is wrong.
func (t *totals) failf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failLocked(fmt.Errorf(format, args...))
}

func (t *totals) failLocked(err error) {
	if len(t.failures) < mostFailures {
		t.failures = append(t.failures, err)
	}
}

func (t *totals) failed() bool { return t.verdict() != nil }

// verdict returns what is wrong, nil if nothing is.
func (t *totals) verdict() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.failures...)
}

// unseen returns the kinds of calls of which none has succeeded.
func (t *totals) unseen() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range kinds {
		if t.counts[k.name]["right"] == 0 {
			names = append(names, k.name)
		}
	}
	return names
}

// line says how many calls there were, in all, and how they have ended.
func (t *totals) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := map[string]int{}
	for _, outcomes := range t.counts {
		for name, n := range outcomes {
			sum[name] += n
		}
	}
	return lineOf(sum)
}

func lineOf(outcomes map[string]int) string {
	calls := 0
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		calls += outcomes[name]
		fmt.Fprintf(&b, ", %d %s", outcomes[name], name)
	}
	return fmt.Sprintf("%d calls%s", calls, b.String())
}

// table says it for each kind, and how much after its time a call has ended.
func (t *totals) table() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Fprintf(&b, "%-9s %s; at most %v late\n", kind, lineOf(t.counts[kind]), t.latest[kind].Round(time.Millisecond))
	}
	return b.String()
}
