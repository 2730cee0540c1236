package gotalk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// ProtocolVersion is the version of the wire protocol that this package speaks.
const ProtocolVersion = uint8(1)

// versionText is what a peer writes first on a connection.
const versionText = "01"

// MsgType is the first byte of a message; it says which fields follow.
type MsgType byte

// Message types, with the layout of their headers. All numbers are hexadecimal ASCII of fixed width. A payload of size
// bytes follows every type but Heartbeat and ProtocolError.
const (
	MsgTypeSingleReq     = MsgType('r') // id 4, name size 3, name, size 8
	MsgTypeStreamReq     = MsgType('s') // id 4, name size 3, name, size 8
	MsgTypeStreamReqPart = MsgType('p') // id 4, size 8; size 0 ends the request's stream
	MsgTypeSingleRes     = MsgType('R') // id 4, size 8
	MsgTypeStreamRes     = MsgType('S') // id 4, size 8; size 0 ends the result's stream
	MsgTypeErrorRes      = MsgType('E') // id 4, size 8
	MsgTypeRetryRes      = MsgType('e') // id 4, wait in milliseconds 8, size 8
	MsgTypeNotification  = MsgType('n') // name size 3, name, size 8
	MsgTypeHeartbeat     = MsgType('h') // load 4, unix seconds 8
	MsgTypeProtocolError = MsgType('f') // code 8
)

// Codes of a ProtocolError message, and what a Sock's CloseHandler is given when one closed the connection.
const (
	ProtocolErrorAbnormal    = 0 // an abnormal condition, not further specified
	ProtocolErrorUnsupported = 1 // the peer speaks another version of the protocol
	ProtocolErrorInvalidMsg  = 2 // the peer sent a message that makes no sense
	ProtocolErrorTimeout     = 3 // the peer sent nothing for too long
)

// HeartbeatMsgMaxLoad is the load that a heartbeat carries when a peer is fully loaded.
var HeartbeatMsgMaxLoad = 0xffff

const (
	maxNameSize   = 0xfff      // bytes; what three digits can say
	maxHeaderSize = 16 + 0xfff // of a request with the longest name
	maxSize       = 1<<32 - 1  // of a payload; what eight digits can say
	heartbeatSize = 1 + 4 + 8  // a heartbeat has no payload, so this is all of it
	noHeaderYet   = -1         // header.parse: the input ends before the header does
	digits        = "0123456789abcdef"
)

// errMalformed is the reason why a message cannot be parsed: a number that is not hexadecimal.
var errMalformed = errors.New("gotalk: malformed message")

// msgID identifies a request among those that its sender has under way: four bytes of the sender's choice.
type msgID [4]byte

// header is a parsed message header. For a heartbeat wait is the load and size the time, for a protocol error size is
// the code.
type header struct {
	t    MsgType
	id   msgID
	name []byte // aliases the parsed input
	wait uint32
	size uint32
}

// WriteVersion writes the version that a conversation starts with.
func WriteVersion(w io.Writer) (int, error) {
	return io.WriteString(w, versionText)
}

// ReadVersion reads exactly the two bytes of a peer's version. The error is the reader's, io.EOF where the input ends
// early, or says which version this package does not support.
func ReadVersion(r io.Reader) (uint8, error) {
	var b [len(versionText)]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		return 0, err
	}
	return parseVersion(b)
}

func parseVersion(b [len(versionText)]byte) (uint8, error) {
	n, ok := parseHex(b[:])
	if !ok || uint8(n) != ProtocolVersion {
		return uint8(n), fmt.Errorf("unsupported protocol version %q", b[:])
	}
	return uint8(n), nil
}

// FormatRequestID gives the request id of the nth request of a Sock: n as four bytes, least significant first.
func FormatRequestID(n uint32) []byte {
	return binary.LittleEndian.AppendUint32(nil, n)
}

// MakeMsg returns the header of a message; its payload of size bytes is to follow. wait is in milliseconds and only
// part of a RetryRes. An id longer than four bytes is cut. It panics when id has one to three bytes or name3 more than
// 4095: neither can be said on the wire. The slice is the caller's.
func MakeMsg(t MsgType, id, name3 string, wait, size uint32) []byte {
	if len(id) > 0 && len(id) < len(msgID{}) {
		panic("gotalk: MakeMsg: a request id has four bytes, got " + strconv.Itoa(len(id)))
	}
	if len(name3) > maxNameSize {
		panic("gotalk: MakeMsg: a name has at most 4095 bytes, got " + strconv.Itoa(len(name3)))
	}
	b := append(make([]byte, 0, heartbeatSize+len(name3)+11), byte(t))
	if id != "" {
		b = append(b, id[:len(msgID{})]...)
	}
	if name3 != "" || hasName(t) {
		b = appendHex3(b, len(name3))
		b = append(b, name3...)
	}
	if t == MsgTypeRetryRes {
		b = appendHex8(b, wait)
	}
	return appendHex8(b, size)
}

// MakeHeartbeatMsg returns a heartbeat that carries load, 0 to HeartbeatMsgMaxLoad, and the current time. It is written
// into b when b has room for its 13 bytes.
func MakeHeartbeatMsg(load uint16, b []byte) []byte {
	return appendHeader(b[:0], MsgTypeHeartbeat, msgID{}, "", uint32(load), uint32(time.Now().Unix()))
}

// ReadMsg reads the header of a message and no byte more, so that its payload of size bytes is what r yields next. b is
// a buffer to work with and may be nil. For a heartbeat wait is the load and size the time in unix seconds, for a
// protocol error size is the code. Where the input ends early the error is io.EOF.
func ReadMsg(r io.Reader, b []byte) (t MsgType, id, name3 string, wait, size uint32, err error) {
	if cap(b) < 32 {
		b = make([]byte, 32)
	}
	b = b[:cap(b)]
	for have := 0; ; {
		var h header
		n, err := h.parse(b[:have])
		if err != nil {
			return 0, "", "", 0, 0, err
		}
		if n > 0 {
			if hasID(h.t) {
				id = string(h.id[:])
			}
			return h.t, id, string(h.name), h.wait, h.size, nil
		}
		want := headerSize(b[:have])
		if want > len(b) {
			b = append(make([]byte, 0, want), b[:have]...)[:want]
		}
		m, err := io.ReadFull(r, b[have:want])
		have += m
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF
			}
			return 0, "", "", 0, 0, err
		}
	}
}

// hasName tells whether messages of type t carry the name of an operation or notification.
func hasName(t MsgType) bool {
	return t == MsgTypeSingleReq || t == MsgTypeStreamReq || t == MsgTypeNotification
}

// hasID tells whether messages of type t carry a request id; unknown types are taken to have one.
func hasID(t MsgType) bool {
	return t != MsgTypeNotification && t != MsgTypeHeartbeat && t != MsgTypeProtocolError
}

// headerSize says how many bytes of a message have to be there before more is known about it: the whole header's size,
// or less when the name size is not among the bytes in b yet.
func headerSize(b []byte) int {
	if len(b) == 0 {
		return 1
	}
	switch t := MsgType(b[0]); t {
	case MsgTypeSingleReq, MsgTypeStreamReq:
		return sizeWithName(b, 1+len(msgID{}))
	case MsgTypeNotification:
		return sizeWithName(b, 1)
	case MsgTypeRetryRes:
		return 21
	case MsgTypeProtocolError:
		return 9
	default: // an unknown type is parsed like most types are, and left to the caller to refuse
		return 13
	}
}

// sizeWithName is headerSize for a message whose name size stands at offset at.
func sizeWithName(b []byte, at int) int {
	if len(b) < at+3 {
		return at + 3
	}
	n, _ := parseHex(b[at : at+3])
	return at + 3 + int(n) + 8
}

// parse parses the message header at the beginning of b. It returns the header's size, or noHeaderYet while b does not
// hold all of it. It neither allocates nor keeps b, but the header's name aliases it.
func (h *header) parse(b []byte) (n int, err error) {
	n = headerSize(b)
	if len(b) < n {
		return noHeaderYet, nil
	}
	*h = header{t: MsgType(b[0])}
	ok, ok2 := true, true
	at := 1
	switch h.t {
	case MsgTypeHeartbeat:
		h.wait, ok2 = parseHex(b[1:5])
		at = 5
	case MsgTypeProtocolError:
	case MsgTypeNotification:
		h.name, at, ok2 = parseName(b, 1)
	case MsgTypeSingleReq, MsgTypeStreamReq:
		h.id = msgID(b[1:5])
		h.name, at, ok2 = parseName(b, 5)
	case MsgTypeRetryRes:
		h.id = msgID(b[1:5])
		h.wait, ok2 = parseHex(b[5:13])
		at = 13
	default:
		h.id = msgID(b[1:5])
		at = 5
	}
	if !ok2 {
		return 0, errMalformed
	}
	h.size, ok = parseHex(b[at : at+8])
	if !ok {
		return 0, errMalformed
	}
	return at + 8, nil
}

// parseName parses the name whose size stands at offset at, and says where it ends. b holds all of it.
func parseName(b []byte, at int) (name []byte, end int, ok bool) {
	n, ok := parseHex(b[at : at+3])
	end = at + 3 + int(n)
	if !ok {
		return nil, end, false
	}
	return b[at+3 : end], end, true
}

// hexValue maps a digit to its value plus one, all else to zero.
var hexValue = func() (t [256]uint8) {
	for i := range digits {
		t[digits[i]] = uint8(i + 1)
	}
	for i := range 6 {
		t['A'+i] = uint8(11 + i)
	}
	return t
}()

// parseHex parses digits of either case: no sign, no prefix, no blanks.
func parseHex(b []byte) (n uint32, ok bool) {
	for _, c := range b {
		v := hexValue[c]
		if v == 0 {
			return 0, false
		}
		n = n<<4 | uint32(v-1)
	}
	return n, true
}

func appendHex3(b []byte, n int) []byte {
	return append(b, digits[n>>8&15], digits[n>>4&15], digits[n&15])
}

func appendHex8(b []byte, n uint32) []byte {
	return append(b, digits[n>>28], digits[n>>24&15], digits[n>>20&15], digits[n>>16&15],
		digits[n>>12&15], digits[n>>8&15], digits[n>>4&15], digits[n&15])
}

// appendHeader appends the header of a message. Fields that messages of type t do not have are left out. For a heartbeat
// wait is the load and size the time, for a protocol error size is the code. name has at most 4095 bytes.
func appendHeader(b []byte, t MsgType, id msgID, name string, wait, size uint32) []byte {
	b = append(b, byte(t))
	if hasID(t) {
		b = append(b, id[0], id[1], id[2], id[3])
	}
	switch t {
	case MsgTypeSingleReq, MsgTypeStreamReq, MsgTypeNotification:
		b = append(appendHex3(b, len(name)), name...)
	case MsgTypeRetryRes:
		b = appendHex8(b, wait)
	case MsgTypeHeartbeat:
		b = append(b, digits[wait>>12&15], digits[wait>>8&15], digits[wait>>4&15], digits[wait&15])
	}
	return appendHex8(b, size)
}
