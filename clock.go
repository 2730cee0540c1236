package gotalk

import "time"

var began = time.Now()

// clock is the time for what only wants to know how long ago something was: a third of the memory that time.Time takes.
func clock() time.Duration { return time.Since(began) }
