package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
)

// operationFlag gathers KEY=NAME.
type operationFlag map[string]string

func (f operationFlag) String() string { return "" }

func (f operationFlag) Set(s string) error {
	key, name, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return fmt.Errorf("want KEY=NAME, such as echo=my/echo")
	}
	f[key] = name
	return nil
}

func conformCommand(ctx context.Context, c *call) int {
	o := conform.Options{Ops: operationFlag{}}
	c.flags.DurationVar(&o.Timeout, "timeout", 5*time.Second, "`time` for each check")
	c.flags.DurationVar(&o.Quiet, "quiet", 50*time.Millisecond, "`time` for which nothing may come where nothing is due")
	c.flags.Var(operationFlag(o.Ops), "op", "`KEY=NAME`: the peer's name for an operation; may be given several times")
	c.flags.StringVar(&o.Known, "known", "", "take deviations of this `peer` of old for no failures: "+conform.KnownPeers())
	c.flags.StringVar(&o.Origin, "origin", "", "send this `Origin` to WebSocket servers instead of their own host")
	c.flags.BoolVar(&o.Insecure, "insecure", false, "take any certificate of tls:// and wss:// servers")
	c.flags.BoolVar(&o.Strict, "strict", false, "fail where the peer lacks an operation")
	only := c.flags.String("run", "", "run only checks whose names match this `regexp`")
	asJSON := c.flags.Bool("json", false, "print a report for machines")
	verbose := c.flags.Bool("v", false, "print what goes over the wire for all checks")
	if code, ok := c.parse(1, conformHelp()); !ok {
		return code
	}
	var err error
	if *only != "" {
		if o.Run, err = regexp.Compile(*only); err != nil {
			return c.usageError(err)
		}
	}
	o.Addr = c.flags.Arg(0)
	p := &conform.Printer{W: c.out, Verbose: *verbose}
	each := p.Print
	if *asJSON {
		each = nil
	}
	report, err := conform.Run(ctx, o, each)
	switch {
	case err != nil:
		return c.usageError(err)
	case len(report.Results) == 0:
		return c.usageError(fmt.Errorf("no check is named like %q", *only))
	case *asJSON:
		encoder := json.NewEncoder(c.out)
		encoder.SetIndent("", " ")
		encoder.Encode(report)
	default:
		p.Summary(report)
	}
	if report.Count(conform.Failed) > 0 {
		return exitFailed
	}
	return exitOK
}

func conformHelp() string {
	var b strings.Builder
	b.WriteString(`Checks the peer that listens at ADDR against PROTOCOL.md, section by section, over connections of its own.
ADDR is HOST:PORT, tls://HOST:PORT, unix:PATH, ws://… or wss://….

The peer should offer these operations. Checks that need one which it lacks are skipped; echo alone says much.

`)
	for _, o := range conform.Operations {
		if o.Kind != "" {
			fmt.Fprintf(&b, "  %-8s %-18s %s\n", o.Name, o.Kind, o.Does)
		}
	}
	b.WriteString("\nExit code: 0 all passed or were skipped, 1 failures, 2 wrong usage or no connection.")
	return b.String()
}
