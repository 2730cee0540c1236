package conform_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
	"github.com/stretchr/testify/require"
)

// wsFrame is a WebSocket frame that passes.
type wsFrame struct {
	first   byte
	masked  bool
	payload string
}

func (f wsFrame) op() byte { return f.first & 15 }

func (f wsFrame) bytes() string {
	mask := byte(0)
	if f.masked {
		mask = 0x80
	}
	b := []byte{f.first, mask | byte(len(f.payload))}
	if n := len(f.payload); n >= 1<<16 {
		b = binary.BigEndian.AppendUint64([]byte{f.first, mask | 127}, uint64(n))
	} else if n > 125 {
		b = binary.BigEndian.AppendUint16([]byte{f.first, mask | 126}, uint16(n))
	}
	if f.masked {
		b = append(b, 0, 0, 0, 0) // which leaves the payload as it is
	}
	return string(b) + f.payload
}

func readFrame(r *bufio.Reader) (f wsFrame, err error) {
	head := make([]byte, 2)
	if _, err = io.ReadFull(r, head); err != nil {
		return f, err
	}
	f.first, f.masked = head[0], head[1]&0x80 != 0
	n := uint64(head[1] & 127)
	b := make([]byte, 8)
	switch n {
	case 126:
		_, err = io.ReadFull(r, b[6:])
		n = binary.BigEndian.Uint64(b)
	case 127:
		_, err = io.ReadFull(r, b)
		n = binary.BigEndian.Uint64(b)
	}
	var key [4]byte
	if f.masked {
		_, err = io.ReadFull(r, key[:])
	}
	payload := make([]byte, n)
	if err == nil {
		_, err = io.ReadFull(r, payload)
	}
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	f.payload = string(payload)
	return f, err
}

// wsSides is sides for WebSockets.
type wsSides struct {
	request, response func(head string) string
	in, out           func(f wsFrame) string
}

// startWebSocketProxy stands before a WebSocket server at addr, and returns its own address.
func startWebSocketProxy(t testing.TB, addr string, fault func() wsSides) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	host := strings.Split(addr, "/")[2]
	serve := func(nc net.Conn) {
		defer nc.Close()
		peer, err := net.Dial("tcp", host)
		if err != nil {
			return
		}
		s := fault()
		go func() { // ends with the connections
			defer peer.Close()
			passFrames(nc, peer, func(head string) string {
				head = strings.ReplaceAll(head, l.Addr().String(), host)
				if s.request != nil {
					head = s.request(head)
				}
				return head
			}, s.in)
		}()
		passFrames(peer, nc, s.response, s.out)
		nc.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, nc)
	}
	go func() { // ends with the listener
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go serve(nc)
		}
	}()
	return strings.Replace(addr, host, l.Addr().String(), 1)
}

func passFrames(from io.Reader, to io.Writer, head func(string) string, f func(wsFrame) string) {
	r := bufio.NewReader(from)
	var text strings.Builder
	for !strings.HasSuffix(text.String(), "\r\n\r\n") {
		b, err := r.ReadByte()
		if err != nil {
			return
		}
		text.WriteByte(b)
	}
	if head == nil {
		head = func(s string) string { return s }
	}
	io.WriteString(to, head(text.String()))
	for {
		frame, err := readFrame(r)
		if err != nil {
			return
		}
		s := frame.bytes()
		if f != nil {
			s = f(frame)
		}
		if _, err = io.WriteString(to, s); s == hangUp || err != nil {
			return
		}
	}
}

type wsFault struct {
	name, finds, also string
	fault             func() wsSides
}

func inFrames(f func(f wsFrame) string) func() wsSides {
	return func() wsSides { return wsSides{in: f} }
}
func outFrames(f func(f wsFrame) string) func() wsSides {
	return func() wsSides { return wsSides{out: f} }
}

// frames changes frames with one of these opcodes.
func frames(ops string, f func(f wsFrame) string) func(f wsFrame) string {
	return func(frame wsFrame) string {
		if strings.IndexByte(ops, frame.op()) >= 0 {
			return f(frame)
		}
		return frame.bytes()
	}
}

var wsFaults = []wsFault{
	{"pages of all sites", "websocket-origin", "", func() wsSides {
		return wsSides{request: func(head string) string {
			return strings.Replace(head, "Origin: http://conformance.invalid\r\n", "", 1)
		}}
	}},
	{"a wrong accept key", "websocket-upgrade", "", func() wsSides {
		return wsSides{response: func(head string) string { return strings.Replace(head, "Accept: ", "Accept: X", 1) }}
	}},
	{"extensions", "websocket-upgrade", "", func() wsSides {
		return wsSides{response: func(head string) string {
			return strings.Replace(head, "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1)
		}}
	}},
	{"headers and payloads share messages", "websocket-messages", "websocket-hello-without-join", func() wsSides {
		held := ""
		return wsSides{out: frames("\x02", func(f wsFrame) string {
			if len(f.payload) == 13 && strings.IndexByte("RES", f.payload[0]) >= 0 && held == "" &&
				!strings.HasSuffix(f.payload, "00000000") {
				held = f.payload
				return ""
			}
			f.payload, held = held+f.payload, ""
			return f.bytes()
		})}
	}},
	{"headers are text", "websocket-messages",
		"websocket-hello-without-join", outFrames(frames("\x02", func(f wsFrame) string {
			f.first = 0x81
			return f.bytes()
		}))},
	{"payloads in several messages", "websocket-messages",
		"websocket-hello-without-join", outFrames(frames("\x02", func(f wsFrame) string {
			if len(f.payload) < 30_000 {
				return f.bytes()
			}
			a, b := f, f
			a.payload, b.payload = f.payload[:20_000], f.payload[20_000:]
			return a.bytes() + b.bytes()
		}))},
	{"frames of the server have a mask", "version", ".", outFrames(frames("\x02", func(f wsFrame) string {
		f.masked = true
		return f.bytes()
	}))},
	{"frames of the server have a reserved bit", "version", ".", outFrames(frames("\x02", func(f wsFrame) string {
		f.first |= 0x40
		return f.bytes()
	}))},
	{"no pong", "websocket-ping|websocket-fragments", "", outFrames(frames("\x0a", func(wsFrame) string { return "" }))},
	{"pong without payload", "websocket-ping|websocket-fragments", "", outFrames(frames("\x0a", func(f wsFrame) string {
		f.payload = ""
		return f.bytes()
	}))},
	{"pong twice", "websocket-ping",
		"websocket-fragments", outFrames(frames("\x0a", func(f wsFrame) string { return f.bytes() + f.bytes() }))},
	{"no close frame", "websocket-close|websocket-protocol-error",
		"", outFrames(frames("\x08", func(wsFrame) string { return "" }))},
	{"a close frame with a code of its own", "websocket-protocol-error",
		"", outFrames(frames("\x08", func(f wsFrame) string {
			f.payload = "\x03\xf3"
			return f.bytes()
		}))},
	{"close frames are not taken", "websocket-close", "", inFrames(frames("\x08", func(wsFrame) string { return "" }))},
	{"frames need no mask", "websocket-mask", "", inFrames(func(f wsFrame) string {
		f.masked = true
		return f.bytes()
	})},
	{"reserved bits do not matter", "websocket-reserved-bits", "", inFrames(func(f wsFrame) string {
		f.first &= 0x8f
		return f.bytes()
	})},
	{"reserved opcodes do not matter", "websocket-opcodes", "", inFrames(func(f wsFrame) string {
		if f.op() == 3 || f.op() == 11 {
			return ""
		}
		return f.bytes()
	})},
	{"long pings", "websocket-control-size", "", inFrames(frames("\x09", func(f wsFrame) string {
		f.payload = f.payload[:min(125, len(f.payload))]
		f.first |= 0x80
		return f.bytes()
	}))},
	{"fragments are messages", "websocket-continuation", "", inFrames(frames("\x00\x02", func(f wsFrame) string {
		f.first = f.first&0x70 | 0x82
		return f.bytes()
	}))},
	{"no text", "websocket-text",
		"websocket-empty-messages", inFrames(frames("\x01", func(wsFrame) string { return hangUp }))},
	{"empty messages are an end", "websocket-empty-messages", "", inFrames(func(f wsFrame) string {
		if f.op() < 3 && f.op() > 0 && f.payload == "" {
			return hangUp
		}
		return f.bytes()
	})},
	{"messages are headers or payloads", "websocket-boundaries|one-byte-at-a-time|cut-anywhere|websocket-joined-messages",
		".", func() wsSides {
			payload := false
			return wsSides{in: frames("\x01\x02", func(f wsFrame) string {
				switch {
				case f.payload == "01" || f.payload == "02" || f.payload == "":
				case payload:
					payload = false
				default:
					m, err := readMsg(strings.NewReader(f.payload + "\x00"))
					if err == nil && len(m.bytes()) < len(f.payload) && strings.IndexByte("rspRSEen", f.payload[0]) >= 0 ||
						err != nil && err != io.EOF {
						return hangUp
					}
					payload = !strings.HasSuffix(f.payload, "00000000") && f.payload[0] != 'h' && f.payload[0] != 'f'
				}
				return f.bytes()
			})}
		}},
	{"fragments are lost", "websocket-fragments",
		"websocket-continuation", inFrames(frames("\x00", func(wsFrame) string { return "" }))},
}

func TestWebSocketFaultsAreFound(t *testing.T) {
	for i, f := range wsFaults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			o := options(startWebSocketProxy(t, serveWebSocket(t, handlers(), nil), f.fault))
			same := fault{name: f.name, finds: f.finds, also: f.also}
			o.Run = someChecks(i, same, func(string) bool { return true })
			requireFinds(t, o, same)
		})
	}
}

// A peer that answers with e where it must not.
func TestRetryToWebSocketIsFound(t *testing.T) {
	t.Parallel()
	addr := startWebSocketProxy(t, serveWebSocket(t, handlers(), gotalk.NewLimits(5, 5)), func() wsSides {
		payload := false
		return wsSides{out: frames("\x02", func(f wsFrame) string {
			switch {
			case payload:
				payload = false
			case f.payload[0] == 'E':
				f.payload = "e" + f.payload[1:5] + "000001f4" + f.payload[5:]
				payload = true
			}
			return f.bytes()
		})}
	})
	o := options(addr)
	o.Run, o.Quiet = only("websocket-no-retry"), 100*time.Millisecond
	require.Equal(t, []string{"websocket-no-retry"}, ended(check(t, o), conform.Failed))
}
