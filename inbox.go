package gotalk

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

const (
	// streamWindow is how many bytes a peer that keeps to windows may send on each stream before it is told that some of
	// them were taken.
	streamWindow = 256 << 10

	// A consumer that keeps waiting for more gets a larger window, so that the peer need not wait for news. It grows after
	// so many grants in a row before each of which the consumer had waited. One that falls behind loses it again.
	maxWindow    = 3 * streamWindow
	growthGrants = 4

	// feedGrace is how long what came before the connection ended waits for a channel's consumer after that.
	feedGrace = 30 * time.Second

	// itemOverhead is what a queued message costs beside its payload.
	itemOverhead = 64
)

// inbox holds the parts of a stream that have come and that its consumer has not taken yet. The read loop puts them in
// without ever waiting. When the consumer takes them, the peer gets credit for more.
type inbox struct {
	link *link
	id   msgID
	dir  MsgType // what the parts are: MsgTypeStreamReqPart or MsgTypeStreamRes

	// The peer may not have known of the window when it began to send, and what it sent until it did is any number of bytes
	// on a slow network. Then only Limits.MaxPendingBytes holds.
	early bool

	mu          sync.Mutex
	queue       []Response
	bytes       int    // queued, with overhead; part of link.feedBytes
	received    int64  // bytes
	outstanding int64  // those that the peer has had no credit for yet
	taken       int64  // of them, those that the consumer has taken
	waiting     int    // consumers that wait in next and take what comes at once
	prepaid     int64  // bytes in the queue that count as taken, as a consumer waited for them
	extra       int64  // by how much the window is larger than streamWindow at the moment
	emptied     bool   // the consumer has waited since the last grant
	eager       int    // grants in a row before which it had
	dropped     bool   // what was queued
	end         error  // what comes after what is queued: io.EOF or why the stream failed; nil while more may come
	start       func() // starts the consumer when there is something for it; nil when it has started

	wake chan struct{} // has a token when the queue or end has changed
}

func (in *inbox) init(l *link, id msgID, dir MsgType) {
	in.link, in.id, in.dir, in.wake = l, id, dir, make(chan struct{}, 1)
	in.early = !l.heard.Load()
}

// put queues a part. It tells whether the peer has kept to its window. A little more than that is borne with.
func (in *inbox) put(r Response) bool {
	in.mu.Lock()
	if in.end != nil {
		in.mu.Unlock()
		return true
	}
	if in.outstanding >= 2*streamWindow && !in.early && in.link.peerSaid().credit > 0 {
		in.mu.Unlock()
		return false
	}
	in.received += int64(len(r.Data))
	in.outstanding += int64(len(r.Data))
	if in.waiting > 0 && len(in.queue) == 0 {
		in.taken += int64(len(r.Data))
		in.prepaid += int64(len(r.Data))
	}
	in.queue = append(in.queue, r)
	n := len(r.Data) + itemOverhead
	in.bytes += n
	in.link.feedBytes.Add(int64(n))
	due := in.taken >= streamWindow/2
	in.signal()
	if due {
		in.mu.Lock()
		in.grant(streamWindow / 2)
	}
	return true
}

// close says what comes after what is queued. Only the first time counts, but the first error that drops what is queued
// takes the place of an earlier end.
func (in *inbox) close(err error, drop bool) {
	in.mu.Lock()
	if in.end == nil || drop && !in.dropped {
		in.end = err
	}
	if drop {
		in.queue, in.dropped = nil, true
	}
	freed := 0
	if drop || in.dir == MsgTypeStreamRes { // a result that is complete is its caller's: no reason to stop reading
		freed, in.bytes = in.bytes, 0
	}
	in.signal()
	in.link.feedBytes.Add(int64(-freed))
	in.link.wakeReader()
}

// signal lets the consumer look again, and gives up the lock.
func (in *inbox) signal() {
	start := in.start
	in.start = nil
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default:
	}
	if start != nil {
		go start() // ends with the stream, or some time after the connection
	}
}

// next returns the next part, or the stream's end. It waits until there is one, but not longer than stop. took is to follow
// when the consumer has the part.
//
// atOnce says that the consumer needs nobody's leave to have it: then the peer gets credit for it even before.
func (in *inbox) next(stop <-chan struct{}, atOnce bool) (Response, error) {
	for waited := false; ; waited = true {
		in.mu.Lock()
		if waited && atOnce {
			in.waiting--
		}
		if len(in.queue) > 0 {
			defer in.mu.Unlock()
			r := in.queue[0]
			in.queue[0] = Response{}
			in.queue = in.queue[1:]
			if len(in.queue) == 0 {
				in.queue = nil
			}
			if len(in.queue) > 0 || in.end != nil {
				in.wakeLocked()
			}
			return r, nil
		}
		if in.end != nil {
			defer in.mu.Unlock()
			in.wakeLocked()
			return Response{}, in.end
		}
		in.emptied = true
		if atOnce {
			in.waiting++
		}
		in.grant(streamWindow / 8) // the peer may wait for room for something large
		select {
		case <-in.wake:
		case <-stop: // only of those that take nothing at once
			return Response{}, ErrStreamEnded
		}
	}
}

// took says that the consumer has r, which makes room for more.
func (in *inbox) took(r Response) {
	in.mu.Lock()
	paid := min(in.prepaid, int64(len(r.Data)))
	in.prepaid -= paid
	in.taken += int64(len(r.Data)) - paid
	if n := len(r.Data) + itemOverhead; in.bytes >= n { // else it is no longer counted
		in.bytes -= n
		in.link.feedBytes.Add(int64(-n))
	}
	in.grant(streamWindow / 2)
	in.link.wakeReader()
}

// wakeLocked passes the token on to other consumers.
func (in *inbox) wakeLocked() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// grant tells the peer that what was taken may be sent again, if it is so much. It gives up the lock.
func (in *inbox) grant(least int64) {
	n := min(in.taken, maxSize)
	if n < least || in.end != nil || in.link.peerSaid().credit <= 0 { // its hello may still come
		in.mu.Unlock()
		return
	}
	in.taken -= n
	n += in.growLocked(n)
	in.outstanding -= n
	in.mu.Unlock()
	if n <= 0 {
		return
	}
	in.link.postCredit(in.dir, in.id, uint32(n))
	runtime.Gosched() // or else the one who writes it has to wait until we do
}

// postCredit lets a peer that keeps to windows send n bytes more.
func (l *link) postCredit(dir MsgType, id msgID, n uint32) {
	if l.peerSaid().credit <= 0 {
		return
	}
	payload := append(make([]byte, 0, creditSize), byte(dir), id[0], id[1], id[2], id[3])
	l.post(&message{t: MsgTypeNotification, name: creditName, payload: appendHex8(payload, n)})
}

// growLocked says by how much to change a grant of n bytes, to make the window larger or smaller.
func (in *inbox) growLocked(n int64) (more int64) {
	switch {
	case !in.emptied:
		if int64(in.bytes) > (streamWindow+in.extra)*3/4 {
			in.eager = 0
			more = -min(n, in.extra)
		}
	case in.eager < growthGrants:
		in.eager++
	default:
		in.eager = 0
		more = min(streamWindow+in.extra, maxWindow-streamWindow-in.extra)
	}
	in.emptied = false
	in.extra += more
	return more
}

// held returns how many bytes are queued.
func (in *inbox) held() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.bytes
}

// pump hands what comes to a channel, which it closes in the end if owned: each part, and then what last makes of the
// stream's end, if that is something. It ends when stop is closed, or some time after the connection.
func pump[T any](in *inbox, ch chan T, owned bool, stop <-chan struct{}, part func(Response) T, last func(error) (T, bool)) {
	if owned {
		defer close(ch)
	}
	for {
		r, err := in.next(stop, false)
		if err != nil {
			if v, ok := last(err); ok {
				offer(in.link, ch, v, stop)
			}
			return
		}
		if !offer(in.link, ch, part(r), stop) {
			in.close(ErrStreamEnded, true)
			return
		}
		in.took(r)
	}
}

// offer gives v to a consumer, and tells whether it was taken before the consumer was gone.
func offer[T any](l *link, ch chan T, v T, stop <-chan struct{}) bool {
	select {
	case ch <- v:
		return true
	case <-stop:
		return false
	case <-l.done.ch():
	}
	grace := time.NewTimer(feedGrace)
	defer grace.Stop()
	select {
	case ch <- v:
		return true
	case <-stop:
	case <-grace.C:
	}
	return false
}

// feedResponses gives what comes to a channel of responses, as SendRequest and StreamRequest promise it: the parts, an
// empty one as the last, or one result, or an error.
func (in *inbox) feedResponses(ch chan Response, owned bool) {
	in.start = func() {
		single := false
		pump(in, ch, owned, nil, func(r Response) Response {
			single = r.MsgType == MsgTypeSingleRes
			return r
		}, func(err error) (Response, bool) {
			var own *Error
			switch res, ok := err.(*Response); {
			case ok && res.IsRetry():
				return *res, true
			case err == io.EOF:
				return Response{MsgType: MsgTypeStreamRes}, !single
			case !ok && errors.As(err, &own):
				return Response{MsgType: MsgTypeErrorRes, Data: []byte(own.Message)}, true
			}
			return Response{MsgType: MsgTypeErrorRes, Data: []byte(err.Error())}, true
		})
	}
}

// onCredit takes the news that the peer has taken what we sent on a stream.
func (l *link) onCredit(payload []byte) error {
	if len(payload) != creditSize {
		return errMalformed
	}
	n, ok := parseHex(payload[5:])
	if !ok {
		return errMalformed
	}
	id := msgID(payload[1:5])
	var st *Stream
	l.mu.Lock()
	switch MsgType(payload[0]) {
	case MsgTypeStreamReqPart:
		if c := l.calls[id]; c != nil {
			st = c.stream
		}
	case MsgTypeStreamRes:
		st = l.streams[id]
	default:
		l.mu.Unlock()
		return fmt.Errorf("%w: credit for neither p nor S", errMalformed)
	}
	l.mu.Unlock()
	if st != nil {
		st.addCredit(int64(n))
	}
	return nil
}
