// Package conform checks a gotalk peer against PROTOCOL.md, from outside, over connections of its own.
package conform

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Outcomes of a check.
const (
	Passed  = "passed"
	Failed  = "failed"
	Skipped = "skipped"
	Known   = "known deviation" // failed as a peer of old does, and that was asked for
)

// Result is what a check has shown.
type Result struct {
	Group    string        `json:"group"`
	Name     string        `json:"name"`
	Says     string        `json:"says"`
	Section  string        `json:"section"`
	Outcome  string        `json:"outcome"`
	Time     time.Duration `json:"time_ns"`
	Skipped  string        `json:"skipped,omitempty"`  // why
	Expected string        `json:"expected,omitempty"` // of one that failed
	Came     string        `json:"came,omitempty"`     // instead
	As       string        `json:"as,omitempty"`       // which peers of old do the same, and what it is
	Warnings []string      `json:"warnings,omitempty"` // what the peer should do, but need not
	Wire     []string      `json:"wire,omitempty"`     // what went over the connections
}

// Report is the results of all checks.
type Report struct {
	Addr    string   `json:"addr"`
	Results []Result `json:"results"`
}

// Count returns how many checks ended so.
func (r *Report) Count(outcome string) (n int) {
	for _, result := range r.Results {
		if result.Outcome == outcome {
			n++
		}
	}
	return n
}

// Run runs the checks one after the other and calls each, which may be nil, after each of them. The error is that the
// options are no good, that the peer cannot be reached, or the context's.
func Run(ctx context.Context, o Options, each func(Result)) (*Report, error) {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Quiet == 0 {
		o.Quiet = 50 * time.Millisecond
	}
	if err := checkOptions(o); err != nil {
		return nil, err
	}
	a, err := parseAddress(o.Addr, o.Insecure)
	if err != nil {
		return nil, err
	}
	g := &target{options: o, address: a}
	if err := g.reach(ctx); err != nil {
		return nil, err
	}
	g.explore()
	report := &Report{Addr: o.Addr}
	gone := ""
	for _, group := range groups() {
		for _, c := range group.checks {
			if o.Run != nil && !o.Run.MatchString(c.name) {
				continue
			}
			if ctx.Err() != nil {
				return report, ctx.Err()
			}
			r := Result{Group: group.name, Name: c.name, Says: c.says, Section: c.section}
			if gone != "" {
				r.Outcome, r.Expected, r.Came = Failed, "that the peer takes connections", "it has taken none since check "+gone
			} else {
				g.run(c, &r)
				if r.Outcome == Failed && g.reach(ctx) != nil {
					gone = c.name
					r.Came += ", and the peer takes no connections any more"
				}
			}
			report.Results = append(report.Results, r)
			if each != nil {
				each(r)
			}
		}
	}
	return report, nil
}

func checkOptions(o Options) error {
	if o.Known != "" && deviations[o.Known] == nil {
		return fmt.Errorf("no known deviations of %q: there are those of %s", o.Known, KnownPeers())
	}
	for name := range o.Ops {
		known := false
		for _, op := range Operations {
			known = known || op.Name == name
		}
		if !known {
			return fmt.Errorf("no check uses an operation %q", name)
		}
	}
	return nil
}

// reach tells whether the peer takes connections.
func (g *target) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.options.Timeout)
	defer cancel()
	nc, err := g.address.dial(ctx)
	if err != nil {
		return err
	}
	return nc.Close()
}

// run runs one check.
func (g *target) run(c check, r *Result) {
	if why := g.needed(c.needs); why != "" {
		r.Outcome, r.Skipped = Skipped, why
		if g.options.Strict && strings.HasPrefix(why, "needs operation") {
			r.Outcome, r.Skipped, r.Expected, r.Came = Failed, "", "a peer that has all operations", why
		}
		return
	}
	if d := deviations[g.options.Known][c.name]; d.fatal {
		r.Outcome, r.As = Known, fmt.Sprintf("as %s does (not tried): %s", g.options.Known, d.does)
		return
	}
	begin := time.Now()
	t, failed := g.do(c.run)
	r.Time = time.Since(begin)
	r.Warnings, r.Wire = t.warnings, t.wire()
	switch {
	case t.skipped != "":
		r.Outcome, r.Skipped = Skipped, t.skipped
	case failed == nil:
		r.Outcome = Passed
	default:
		r.Outcome, r.Expected, r.Came = Failed, failed.Expected, failed.Came
		g.compare(c.name, failed, r)
	}
}

// wire is what went over the connections, a message in each line, as PROTOCOL.md writes it.
func (t *T) wire() (lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.events {
		number := ""
		if len(t.conns) > 1 && e.conn > 0 {
			number = fmt.Sprint(e.conn)
		}
		lines = append(lines, fmt.Sprintf("%s%c %s", number, e.dir, e.text))
	}
	return lines
}
