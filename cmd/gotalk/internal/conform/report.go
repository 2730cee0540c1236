package conform

import (
	"fmt"
	"io"
	"time"
)

// marks of outcomes.
var marks = map[string]string{Passed: "✓", Failed: "✗", Skipped: "–", Known: "≈"}

// Printer writes results for people to read, as they come.
type Printer struct {
	W       io.Writer
	Verbose bool // what went over the wire for all checks, not only for those that failed

	group string
}

// Print writes a result.
func (p *Printer) Print(r Result) {
	if r.Group != p.group {
		fmt.Fprintf(p.W, "\n%s\n", r.Group)
		p.group = r.Group
	}
	line := fmt.Sprintf("  %s %-28s", marks[r.Outcome], r.Name)
	switch {
	case r.Outcome == Skipped:
		fmt.Fprintf(p.W, "%s skipped: %s\n", line, r.Skipped)
	case r.Outcome == Known && r.Expected == "":
		fmt.Fprintf(p.W, "%s known deviation: %s\n", line, r.As)
	default:
		fmt.Fprintf(p.W, "%s %5d ms\n", line, r.Time/time.Millisecond)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(p.W, "      ! %s (section %s)\n", w, r.Section)
	}
	switch {
	case r.Outcome == Failed:
		fmt.Fprintf(p.W, "      %s (PROTOCOL.md, section %s)\n", r.Says, r.Section)
		p.wire(r)
		fmt.Fprintf(p.W, "      expected  %s\n      came      %s\n", r.Expected, r.Came)
		if r.As != "" {
			fmt.Fprintf(p.W, "      %s\n", r.As)
		}
	case r.Outcome == Known && r.Expected != "":
		fmt.Fprintf(p.W, "      known deviation: %s\n", r.As)
		fallthrough
	case p.Verbose && r.Outcome != Skipped:
		if p.Verbose {
			fmt.Fprintf(p.W, "      %s (section %s)\n", r.Says, r.Section)
			p.wire(r)
		}
	}
}

func (p *Printer) wire(r Result) {
	for _, line := range r.Wire {
		fmt.Fprintf(p.W, "        %s\n", line)
	}
}

// Summary writes the last line.
func (p *Printer) Summary(r *Report) {
	fmt.Fprintf(p.W, "\n%d passed, %d failed, %d skipped", r.Count(Passed), r.Count(Failed), r.Count(Skipped))
	if n := r.Count(Known); n > 0 {
		fmt.Fprintf(p.W, ", %d known deviations", n)
	}
	warnings := 0
	for _, result := range r.Results {
		warnings += len(result.Warnings)
	}
	if warnings > 0 {
		fmt.Fprintf(p.W, ", %d remarks", warnings)
	}
	fmt.Fprintln(p.W)
	if r.Count(Failed) > 0 {
		fmt.Fprintln(p.W, "Sections are those of PROTOCOL.md. > is what was sent, < what came; \\xHH is a byte.")
	}
}
