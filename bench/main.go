// Command bench compares gotalk with other libraries for remote calls, and with hand-written programs that show what the
// machine can do. README.md says what is measured and how.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"
)

func main() {
	if err := dispatch(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch runs the comparison, or what that starts this program again for: one measurement, and the server of one.
func dispatch(args []string) error {
	if len(args) > 0 && args[0] == "measure" {
		return measureOne(args[1:])
	}
	if len(args) == 2 && args[0] == "serve" {
		return serve(args[1], os.Stdin, os.Stdout)
	}
	return compare(args)
}

func compare(args []string) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := f.Bool("quick", false, "be done in a minute: one short round, fewer connections")
	rounds := f.Int("rounds", 0, "rounds (5, with -quick 1)")
	only := f.String("only", "", "peers whose name matches this `regexp`; -base is measured besides")
	work := f.String("work", "", "works whose name matches this `regexp`")
	base := f.String("base", "net/rpc gob", "the `peer` that ratios are relative to")
	svg := f.String("svg", "", "draw the ratios into this `file`, usually ../docs/bench.svg")
	jsonFile := f.String("json", "", "write all figures into this `file`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("there is no argument %q", f.Arg(0))
	}
	r, err := newReport(*quick, *only, *work, *base)
	if err != nil {
		return err
	}
	r.Rounds, r.Times = 5, Times{Warm: 100 * time.Millisecond, Run: 400 * time.Millisecond}
	if *quick {
		r.Rounds, r.Times = 1, Times{Warm: 30 * time.Millisecond, Run: 80 * time.Millisecond}
	}
	if *rounds > 0 {
		r.Rounds = *rounds
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	runErr := r.run(ctx, newProgress(os.Stderr))
	fmt.Print(r.Text())
	if *svg != "" {
		runErr = errors.Join(runErr, os.WriteFile(*svg, []byte(r.SVG()), 0o644))
	}
	if *jsonFile != "" {
		b, err := json.MarshalIndent(r.figures(), "", "  ")
		runErr = errors.Join(runErr, err, os.WriteFile(*jsonFile, append(b, '\n'), 0o644))
	}
	return runErr
}

// newReport returns one for the peers and works that match.
func newReport(quick bool, only, work, base string) (*Report, error) {
	r := &Report{Quick: quick, Base: base}
	onlyRE, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	workRE, err := regexp.Compile(work)
	if err != nil {
		return nil, err
	}
	if _, err := peerNamed(base); err != nil {
		return nil, err
	}
	for _, w := range works(quick) {
		if workRE.MatchString(w.Name) {
			r.Works = append(r.Works, w)
		}
	}
	for _, p := range peers {
		matches := onlyRE.MatchString(p.Name)
		for _, w := range r.Works {
			if p.Does(w) && (matches || p.Name == r.baseOf(w)) {
				r.Peers = append(r.Peers, p)
				break
			}
		}
	}
	r.Works = slices.DeleteFunc(r.Works, func(w *Work) bool { return len(r.peersOf(w)) == 0 })
	if len(r.Works) == 0 {
		return nil, errors.New("nothing to measure: no work matches, or no peer")
	}
	return r, nil
}
