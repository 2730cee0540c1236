package chaos

import "math/rand/v2"

// Fault is what a Proxy does to the bytes of one direction for a while.
type Fault uint8

const (
	Pass     Fault = iota // nothing: they go on as they come
	Delay                 // what comes is held back, up to 30 ms each time
	Split                 // each byte is written by itself
	Join                  // what comes within 20 ms is written at once
	Throttle              // about 100 kB/s
	Pause                 // nothing is read for up to a second, then they pass
	HalfOpen              // from now on what comes from either side is dropped, and neither is told anything
	Reset                 // the next byte that comes resets both connections
	numFaults
)

// String returns the fault's name in lower case, such as "half-open".
func (f Fault) String() string {
	return [...]string{"pass", "delay", "split", "join", "throttle", "pause", "half-open", "reset"}[f]
}

// Weights says how often each fault is chosen in relation to the others: Weights{Pass: 9, Reset: 1} resets a connection in
// one of ten cases.
type Weights [numFaults]int

// Counts says how often each fault was chosen.
type Counts [numFaults]int64

// spans is over how many bytes a fault lasts at most. What comes next is chosen when they have passed, so that it begins
// anywhere in a message. HalfOpen lasts for ever.
var spans = [numFaults]int{
	Pass: 128 << 10, Delay: 32 << 10, Split: 512, Join: 64 << 10, Throttle: 4 << 10, Pause: 32 << 10, Reset: 1,
}

// choices draws the faults of one direction of a connection.
type choices struct {
	rng     *rand.Rand
	weights Weights
	total   int
}

func newChoices(seed, stream uint64, w Weights) *choices {
	c := &choices{rng: rand.New(rand.NewPCG(seed, stream)), weights: w}
	for _, n := range w {
		c.total += n
	}
	return c
}

// next draws a fault, and how many bytes it lasts.
func (c *choices) next() (f Fault, bytes int) {
	if c.total > 0 {
		n := c.rng.IntN(c.total)
		for n >= c.weights[f] {
			n -= c.weights[f]
			f++
		}
	}
	if spans[f] > 0 {
		bytes = 1 + c.rng.IntN(spans[f])
	}
	return f, bytes
}
