package gotalk

import (
	"crypto/tls"
	"net"
	"syscall"
)

const (
	// mostUnsent is how many bytes the system takes that it cannot send yet. It would take megabytes, which whatever is
	// written next has to wait behind. What is on its way does not count, so that long ways are filled as they were.
	mostUnsent = 128 << 10

	tcpNotsentLowat = 25 // of linux/tcp.h
)

// limitUnsent keeps what waits in front of small messages short, if conn is one over TCP.
func limitUnsent(conn any) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, mostUnsent) // or it is as it was
		})
	}
}
