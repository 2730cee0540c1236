package main

import (
	"fmt"
	"os"
	"testing"
)

// The tests' program starts itself as servers and clients, as the real one does.
func TestMain(m *testing.M) {
	os.Setenv("GORACE", "halt_on_error=1") // so that a race in a server is noticed
	registerFakes()
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "measure") {
		if err := dispatch(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
