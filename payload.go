package gotalk

import (
	"math/bits"
	"sync"
)

// payload reads the payload of size bytes that follows a header, into the memory of into if there is enough. The slice is
// the caller's; without into it is nil when size is 0.
func (r *msgReader) payload(size uint32, into []byte) ([]byte, error) {
	if size == 0 {
		return into[:0], nil
	}
	if end := r.from + int(size); size < largePayload && end <= r.to {
		if cap(into) < int(size) {
			into = make([]byte, size)
		}
		copy(into[:size], r.buf[r.from:end])
		r.from, r.large = end, false
		return into[:size:size], nil
	}
	p, err := r.appendPayload(into[:0], size, int(size))
	return p[:len(p):len(p)], err
}

// lentPayload is payload for those who are done with it before the next header. It may be a part of the buffer.
func (r *msgReader) lentPayload(size uint32) ([]byte, error) {
	if end := r.from + int(size); size < largePayload && end <= r.to {
		p := r.buf[r.from:end:end]
		r.from = end
		return p, nil
	}
	return r.payload(size, nil)
}

// appendPayload reads a payload of size bytes that follows a header to the end of p, which will have about expect bytes.
func (r *msgReader) appendPayload(p []byte, size uint32, expect int) ([]byte, error) {
	have := min(r.to-r.from, int(size))
	r.large = size >= largePayload && have < int(size)
	end := len(p) + int(size)
	expect = max(expect, end)
	p = append(r.withRoom(p, have, expect), r.buf[r.from:r.from+have]...)
	r.from += have
	if len(p) < end {
		r.onWait()
		r.rest()
	}
	for step := len(p); len(p) < end; {
		if len(p) >= step {
			step = len(p) + payloadStep
			r.arm(r.timeout)
		}
		p = r.withRoom(p, 1, expect)
		room := p[len(p):min(cap(p), end+headerAhead)]
		n, err := r.read(room)
		if err != nil {
			return nil, inPayload(err)
		}
		if over := len(p) + n - end; over > 0 { // the beginning of the next message came along
			n -= over
			r.hold(over)
			r.from, r.to = 0, copy(r.buf, room[n:n+over])
		}
		p = p[:len(p)+n]
	}
	r.proven = max(r.proven, len(p))
	return p, nil
}

// withRoom returns p with room for at least n bytes that are there, and for others that may come. Memory grows as bytes
// arrive, never more than fourfold what came or one step ahead, or as much as the peer has sent at once before.
func (r *msgReader) withRoom(p []byte, n, expect int) []byte {
	if n <= cap(p)-len(p) {
		return p
	}
	have := len(p) + n
	return append(newPart(min(expect, max(4*have, have+payloadStep, r.proven)))[:0], p...)
}

// parts has memory of large payloads that nobody needs any more, by its size: 32 KiB and more, 64 KiB and more, and so on.
var parts [10]sync.Pool

func partClass(n int) int { return bits.Len(uint(n)) - bits.Len(largePayload) }

// newPart returns n bytes of any content.
func newPart(n int) []byte {
	for class := partClass(n); class >= 0 && class <= partClass(2*n) && class < len(parts); class++ {
		p, _ := parts[class].Get().(*[]byte)
		if p != nil && cap(*p) >= n && cap(*p) <= 2*n {
			return (*p)[:n]
		}
	}
	return make([]byte, n)
}

// freePart gives back a payload that nobody has kept.
func freePart(p []byte) {
	if class := partClass(cap(p)); class >= 0 && class < len(parts) {
		whole := p[:cap(p)]
		parts[class].Put(&whole)
	}
}
