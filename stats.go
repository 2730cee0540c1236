package gotalk

import "time"

// Stats says what is under way at a moment, on one connection or on all of a server's.
type Stats struct {
	Connections int // that are open; 0 or 1 for a Sock

	// Of the peer's making.
	RequestsRunning int           // single requests whose handlers are at work
	RequestsWaiting int           // single requests that wait for their turn
	StreamsServed   int           // streaming requests whose handlers are at work
	OldestWait      time.Duration // how long the longest waiting of RequestsWaiting has
	PendingBytes    int64         // received and not yet handled: requests, notifications, parts of streams

	// Of ours.
	CallsPending int   // requests and streams whose result is not complete
	UnsentBytes  int64 // waiting to be written, or being written
}

// Stats says what is under way on the connection in use.
func (s *Sock) Stats() (stats Stats) {
	if s.client != nil {
		return s.client.Stats()
	}
	if l := s.link.Load(); l != nil {
		stats = l.stats()
	}
	return stats
}

func (l *link) stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return Stats{}
	}
	s := Stats{
		Connections:     1,
		RequestsRunning: l.queue.running,
		RequestsWaiting: len(l.queue.waiting),
		StreamsServed:   l.running,
		PendingBytes:    l.pendingBytes.Load() + l.split.bytes.Load() + l.feedBytes.Load(),
		CallsPending:    len(l.calls),
		UnsentBytes:     l.w.unsent.Load(),
	}
	if len(l.queue.waiting) > 0 {
		s.OldestWait = time.Since(l.queue.waiting[0].since)
	}
	return s
}

// Stats says what is under way on all connections together; OldestWait is the longest of all.
func (s *Server) Stats() Stats { return s.socks.stats() }

// Stats says what is under way on all connections together; OldestWait is the longest of all.
func (s *WebSocketServer) Stats() Stats { return s.socks.stats() }

// Stats says what is under way on all connections together, those included that only finish what is under way. Calls that
// wait for a connection are not counted.
func (c *Client) Stats() (sum Stats) {
	for _, l := range c.allLinks() {
		sum.add(l.stats())
	}
	return sum
}

func (t *sockSet) stats() (sum Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for sock := range t.socks {
		sum.add(sock.Stats())
	}
	return sum
}

func (sum *Stats) add(s Stats) {
	sum.Connections += s.Connections
	sum.RequestsRunning += s.RequestsRunning
	sum.RequestsWaiting += s.RequestsWaiting
	sum.StreamsServed += s.StreamsServed
	sum.OldestWait = max(sum.OldestWait, s.OldestWait)
	sum.PendingBytes += s.PendingBytes
	sum.CallsPending += s.CallsPending
	sum.UnsentBytes += s.UnsentBytes
}
