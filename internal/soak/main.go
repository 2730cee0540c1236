// Soak keeps many connections busy with all that gotalk offers, through a proxy that does to them what networks do, and
// checks that each call returns the right answer, or an error that is documented, in its time; that nothing runs twice, gets
// lost or comes out of order; and that nothing is left behind in the end. It says why and exits with 1 if anything is wrong.
//
//	go run ./internal/soak -for 10m
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

func main() {
	c := config{out: os.Stdout}
	flag.DurationVar(&c.length, "for", time.Minute, "how long to make calls")
	flag.IntVar(&c.conns, "conns", 200, "how many connections")
	flag.Uint64Var(&c.seed, "seed", 0, "what random choices come from; 0 means any")
	flag.DurationVar(&c.every, "every", 5*time.Second, "how often to tell the state of things")
	flag.Parse()
	if c.seed == 0 {
		c.seed = rand.Uint64()
	}
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}
