//go:build unix

package gotalk

import (
	"io"
	"net"
	"syscall"
)

// rawSocket returns nil if conn is no TCP or Unix socket that can be read by readSocket.
func rawSocket(conn any) (raw syscall.RawConn) {
	switch c := conn.(type) { // and not what embeds them, which may do something else
	case *net.TCPConn:
		raw, _ = c.SyscallConn()
	case *net.UnixConn:
		raw, _ = c.SyscallConn()
	}
	return raw
}

// writeSocket writes as much of p as the system takes without waiting.
func writeSocket(fd uintptr, p []byte) (n int, err error) {
	for {
		switch n, err = syscall.Write(int(fd), p); err {
		case nil:
			return n, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}

// readSocket reads into p what has come. If nothing has, ok is false.
func readSocket(fd uintptr, p []byte) (n int, ok bool, err error) {
	for {
		switch n, err = syscall.Read(int(fd), p); {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, false, nil
		case err != nil:
			return 0, true, err
		case n == 0:
			return 0, true, io.EOF
		default:
			return n, true, nil
		}
	}
}
