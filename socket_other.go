//go:build !unix

package gotalk

import (
	"errors"
	"syscall"
)

// On these systems a connection is read and written in the plain way.

func rawSocket(any) syscall.RawConn { return nil }

func writeSocket(uintptr, []byte) (n int, err error) { return 0, errors.ErrUnsupported }

func readSocket(uintptr, []byte) (n int, ok bool, err error) { return 0, true, errors.ErrUnsupported }
