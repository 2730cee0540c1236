package chaos

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	mostDelay    = 30 * time.Millisecond
	mostPause    = time.Second
	joinTime     = 20 * time.Millisecond
	throttleSize = 512 // bytes every throttleTime
	throttleTime = 5 * time.Millisecond
)

// pair is a connection to the proxy and the one to the server that belongs to it.
type pair struct {
	proxy          *Proxy
	client, server *net.TCPConn
	once           sync.Once
	over           chan struct{} // closed when both are being closed
	dead           atomic.Bool   // nothing passes any more
}

// end closes both connections, by a reset or in good order.
func (c *pair) end(reset bool) {
	c.once.Do(func() {
		close(c.over)
		for _, nc := range []*net.TCPConn{c.client, c.server} {
			if reset {
				nc.SetLinger(0)
			}
			nc.Close()
		}
	})
}

// wait waits up to most, but not longer than the connections last.
func (c *pair) wait(most time.Duration) {
	t := time.NewTimer(rand.N(most) + 1)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.over:
	}
}

// pass passes on what src sends to dst, one fault after the other, until src ends.
func (c *pair) pass(dst, src *net.TCPConn, faults *choices) {
	buf := make([]byte, 64<<10)
	for {
		f, left := faults.next()
		c.proxy.counts[f].Add(1)
		switch f {
		case HalfOpen:
			c.dead.Store(true)
			src.SetReadDeadline(time.Time{})
			io.Copy(io.Discard, src)
			return
		case Pause:
			c.wait(mostPause)
		}
		for left > 0 {
			n, err := c.read(src, buf[:min(left, len(buf))], f)
			left -= n
			if c.dead.Load() {
				io.Copy(io.Discard, src)
				return
			}
			if n > 0 && (f == Reset || c.write(dst, buf[:n], f) != nil) {
				c.end(true) // as the one that is gone would have done
				return
			}
			switch err {
			case nil:
			case io.EOF:
				dst.CloseWrite()
				return
			default:
				c.end(true)
				return
			}
		}
	}
}

// read reads as much at once as is meant by f.
func (c *pair) read(src *net.TCPConn, buf []byte, f Fault) (n int, err error) {
	switch f {
	case Throttle:
		buf = buf[:min(len(buf), throttleSize)]
	case Join:
		if n, err = src.Read(buf); err != nil {
			return n, err
		}
		src.SetReadDeadline(time.Now().Add(joinTime))
		more, err := io.ReadFull(src, buf[n:])
		src.SetReadDeadline(time.Time{})
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		if os.IsTimeout(err) {
			err = nil
		}
		return n + more, err
	}
	return src.Read(buf)
}

// write writes b in the way that is meant by f.
func (c *pair) write(dst *net.TCPConn, b []byte, f Fault) error {
	size := len(b)
	switch f {
	case Delay:
		c.wait(mostDelay)
	case Throttle:
		c.wait(2 * throttleTime) // on average half of it
	case Split:
		size = 1
	}
	for len(b) > 0 {
		n, err := dst.Write(b[:size])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
