// Command gotalk is the tool of the gotalk project.
//
//	gotalk conform ADDR    checks a peer, in whatever language it is written, against PROTOCOL.md
//	gotalk help [COMMAND]  says more
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // what the command was to find out, or do, is not well
	exitUsage  = 2 // it could not begin: wrong usage, or no connection
)

// command is a sub-command.
type command struct {
	name, args, does string

	// run does it. It has flags of its own, which usage prints.
	run func(ctx context.Context, c *call) int
}

// commands are all but help.
var commands = []command{
	{"conform", "[flags] ADDR", "check a peer against PROTOCOL.md", conformCommand},
}

// call is a command that runs.
type call struct {
	command
	args        []string
	flags       *flag.FlagSet
	out, errOut io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 0 {
		overview(errOut)
		return exitUsage
	}
	name, args := args[0], args[1:]
	if name == "help" || name == "-h" || name == "-help" || name == "--help" {
		if len(args) == 0 {
			overview(out)
			return exitOK
		}
		name, args = args[0], []string{"-h"}
	}
	for _, c := range commands {
		if c.name == name {
			flags := flag.NewFlagSet(name, flag.ContinueOnError)
			return c.run(ctx, &call{c, args, flags, out, errOut})
		}
	}
	fmt.Fprintf(errOut, "gotalk: no command %q\n\n", name)
	overview(errOut)
	return exitUsage
}

func overview(w io.Writer) {
	fmt.Fprint(w, "Usage: gotalk COMMAND …\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-28s %s\n", c.name+" "+c.args, c.does)
	}
	fmt.Fprintf(w, "  %-28s %s\n", "help [COMMAND]", "say more about a command")
}

// parse reads the flags, and says how many arguments there must be. ok is false when the command is not to run.
func (c *call) parse(arguments int, more string) (code int, ok bool) {
	w := c.errOut
	c.flags.SetOutput(io.Discard) // of the first pass: help goes elsewhere than errors
	err := c.flags.Parse(c.args)
	usage := func() {
		fmt.Fprintf(w, "Usage: gotalk %s %s\n\n%s\n\nFlags:\n", c.name, c.command.args, more)
		c.flags.SetOutput(w)
		c.flags.PrintDefaults()
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		w = c.out
		usage()
		return exitOK, false
	case err == nil && c.flags.NArg() != arguments:
		err = fmt.Errorf("takes %d argument after the flags, not %d", arguments, c.flags.NArg())
	}
	if err != nil {
		fmt.Fprintf(w, "gotalk %s: %v\n\n", c.name, err)
		usage()
		return exitUsage, false
	}
	return exitOK, true
}

// usageError says why a command cannot begin.
func (c *call) usageError(err error) int {
	fmt.Fprintf(c.errOut, "gotalk %s: %v\n", c.name, err)
	return exitUsage
}
