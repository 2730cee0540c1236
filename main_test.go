package gotalk_test

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails when tests leave goroutines behind, and keeps what handlers log on purpose out of the output.
func TestMain(m *testing.M) {
	if kind := os.Getenv(idleServerEnv); kind != "" {
		serveIdle(kind)
		return
	}
	flag.Parse()
	if !testing.Verbose() {
		log.SetOutput(io.Discard)
	}
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // its own goroutines may still be there
	if code == 0 && !fuzzing {
		if leaked := leakedGoroutines(); len(leaked) > 0 {
			fmt.Fprintf(os.Stderr, "%d goroutines were left behind; the first ones:\n\n%s\n", len(leaked),
				strings.Join(leaked[:min(5, len(leaked))], "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// expectedGoroutines are functions whose goroutines may outlive the tests.
var expectedGoroutines = []string{
	"gotalk_test.TestMain",  // the one that looks
	"os/signal.signal_recv", // lives as long as the process
	"os/signal.loop",
	"net/http.(*persistConn).", // idle connections of http.DefaultClient
}

// leakedGoroutines returns the stacks of goroutines that do not end within a few seconds.
func leakedGoroutines() (leaked []string) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		buf := make([]byte, 16<<20)
		leaked = nil
	stacks:
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			for _, name := range expectedGoroutines {
				if strings.Contains(stack, name) {
					continue stacks
				}
			}
			leaked = append(leaked, stack)
		}
		if len(leaked) == 0 {
			return nil
		}
		<-time.After(20 * time.Millisecond)
	}
	return leaked
}
