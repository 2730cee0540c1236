package gotalk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	// maxRefusing is how many connections at once are told why they are refused. Those past it are closed without a word, so
	// that it costs less to refuse a connection than to try one.
	maxRefusing = 64

	// refusingTime is what that may take.
	refusingTime = time.Second
)

// errRefused is what a peer is told of an error that is not for it.
var errRefused = NewError(CodePermissionDenied, "this peer may not connect")

// authorize is handshake for a peer that hears nothing before f lets it in, so that its Connect fails if f does not.
func (l *link) authorize(f func(*Sock) error) error {
	if err := l.hear(context.Background(), true); err != nil {
		return err
	}
	err, returned := errInternal, false
	func() {
		defer func() {
			if !returned { // or it has called runtime.Goexit
				logTo(errorLogger(), l.sock, "panic in Authorize: %v", recover())
			}
		}()
		err, returned = toldOf(l.sock, f(l.sock)), true
	}()
	if err == nil {
		if err := l.greet(); err != nil {
			return l.failed(err)
		}
		return nil
	}
	l.w.postRaw(refusal(l.r.buf[l.r.from:l.r.to], err), true)
	l.close(closing{cause: err, code: ProtocolErrorAbnormal})
	return err
}

// toldOf returns what a peer is told of the error of a program's Authorize, nil if there is none.
func toldOf(s *Sock, err error) *Error {
	if err == nil {
		return nil
	}
	var coded *Error
	var panicked *PanicError
	if errors.As(err, &coded) && !errors.As(err, &panicked) {
		return coded
	}
	logTo(errorLogger(), s, "error in Authorize: %v", err)
	return errRefused
}

// refuse tells a peer why it is refused, and closes the connection.
func (s *Server) refuse(conn net.Conn, why *Error) {
	defer conn.Close()
	defer s.refusing.Add(-1)
	if s.refusing.Add(1) > maxRefusing {
		return
	}
	conn.SetDeadline(time.Now().Add(refusingTime))
	var early [512]byte // its version, and most likely its hello
	n, err := io.ReadAtLeast(conn, early[:], len(versionText))
	if err != nil {
		return
	}
	if _, err := conn.Write(refusal(early[len(versionText):n], why)); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		io.Copy(io.Discard, io.LimitReader(conn, 64<<10)) // a connection closed while input is unread is reset
	}
}

// refusal returns all that a peer is told that is refused, for one write. early is what has come from it behind its version.
func refusal(early []byte, why *Error) []byte {
	b := []byte(versionText)
	if understands(early) {
		for _, m := range []*message{new(link).ourHello(), whyMessage(why)} {
			b = append(m.appendHeader(b), m.payload...)
		}
	}
	last := message{t: MsgTypeProtocolError, size: ProtocolErrorAbnormal}
	return last.appendHeader(b)
}

// understands tells whether early is the hello of a peer that knows whyMessage.
func understands(early []byte) bool {
	var h header
	n, err := h.parse(early)
	if err != nil || n <= 0 || h.t != MsgTypeNotification || string(h.name) != helloName || int64(h.size) > int64(len(early)-n) {
		return false
	}
	peer, err := parseHello(early[n:][:h.size])
	return err == nil && peer.errors
}

// mostWhy is how many bytes a peer is told about a refusal. As JSON they may be six times as many, and the peer is to have all
// of them with the first that it reads.
const mostWhy = minReadBuffer / 8

// whyMessage makes the message that says why the protocol error behind it ends the connection.
func whyMessage(why *Error) *message {
	text := why.Message
	if len(text) > mostWhy {
		text = strings.ToValidUTF8(text[:mostWhy], "")
	}
	payload, _ := json.Marshal(wireError{Code: why.Code, Message: text}) // of strings: cannot fail
	return &message{t: MsgTypeNotification, name: errorName, payload: payload}
}

// onWhy takes what whyMessage makes.
func (l *link) onWhy(payload []byte) error {
	if l.why = parseError(payload); l.why == nil {
		return errMalformed
	}
	return nil
}

// peerSays returns the error that a protocol error of the peer's ends the link with.
func (l *link) peerSays(code uint32) error {
	if err := protocolError(code); l.why == nil {
		return err
	} else {
		return fmt.Errorf("%w: %w", err, l.why)
	}
}

// refuses tells whether the peer has said right behind its version that it does not want us, and why. A protocol error
// without a reason is left to the read loop, as with old peers: Connect succeeds, and calls fail.
func (r *msgReader) refuses() bool {
	reasons := false
	for b := r.buf[r.from:r.to]; ; {
		var h header
		n, err := h.parse(b)
		switch {
		case err != nil || n <= 0:
			return false
		case h.t == MsgTypeProtocolError:
			return reasons
		case h.t != MsgTypeNotification || !bytes.HasPrefix(h.name, []byte(reservedPrefix)) || int64(h.size) > int64(len(b)-n):
			return false
		}
		reasons = reasons || string(h.name) == errorName
		b = b[n+int(h.size):]
	}
}
