//go:build !unix

package gotalk

import (
	"errors"
	"syscall"
)

// On these systems a connection is read in the plain way.

func rawSocket(any) syscall.RawConn { return nil }

func readSocket(uintptr, []byte) (n int, ok bool, err error) { return 0, true, errors.ErrUnsupported }
