package gotalk

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// sockSet knows the Socks of a server, and how many connections it has from where.
type sockSet struct {
	mu     sync.Mutex
	socks  map[*Sock]string // where they are from
	closed bool
	count  int            // connections that have entered and not left; each Sock stands for one
	from   map[string]int // the same by where they are from, but for ""
}

// enter counts a connection, unless there are as many as may be, of all or of those from there; 0 means no limit. Then add
// or leave is to follow.
func (t *sockSet) enter(from string, most, mostPerAddr int) *Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case most > 0 && t.count >= most:
		return NewError(CodeUnavailable, "the server has as many connections as it takes")
	case mostPerAddr > 0 && from != "" && t.from[from] >= mostPerAddr:
		return NewError(CodeResourceExhausted, "too many connections from "+from)
	}
	t.count++
	if from != "" {
		if t.from == nil {
			t.from = map[string]int{}
		}
		t.from[from]++
	}
	return nil
}

// leave takes back what enter did.
func (t *sockSet) leave(from string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaveLocked(from)
}

func (t *sockSet) leaveLocked(from string) {
	t.count--
	if from == "" {
		return
	}
	if t.from[from]--; t.from[from] <= 0 {
		delete(t.from, from)
	}
}

// add puts in the Sock of a connection that has entered. It fails after shutdown. The Sock's link tells when it is to be
// removed.
func (t *sockSet) add(s *Sock, from string) bool {
	s.link.Load().server = t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.socks == nil {
		t.socks = map[*Sock]string{}
	}
	t.socks[s] = from
	return true
}

// remove takes a Sock out, whose connection leaves.
func (t *sockSet) remove(s *Sock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from, ok := t.socks[s]; ok {
		delete(t.socks, s)
		t.leaveLocked(from)
	}
}

// networkOf returns where connections from addr are counted: its IP address, or the /64 around it, of which one subscriber
// has at least a whole one. It is "" for an address that is no IP address.
func networkOf(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	network, _ := networkOfText(addr.String())
	return network
}

// networkOfText is networkOf for an address, with or without a port, as text.
func networkOfText(addr string) (network string, ok bool) {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return "", false
	}
	if ip = ip.WithZone("").Unmap(); ip.Is6() {
		p, _ := ip.Prefix(64) // an IPv6 address has so many bits
		return p.String(), true
	}
	return ip.String(), true
}

// shutdown ends all Socks gracefully, or at once when ctx ends.
func (t *sockSet) shutdown(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	var links []*link
	for s := range t.socks {
		links = append(links, s.link.Load())
	}
	t.mu.Unlock()
	for _, l := range links {
		l.beginShutdown(-1)
	}
	return awaitGone(ctx, links)
}

// awaitGone waits until links that were told to end have, and ends them at once when ctx ends.
func awaitGone(ctx context.Context, links []*link) error {
	for _, l := range links {
		select {
		case <-l.gone.ch():
		case <-ctx.Done():
			for _, l := range links {
				l.closeNow()
			}
			return ctx.Err()
		}
	}
	return nil
}
