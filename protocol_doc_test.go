package gotalk_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// docLine is a line of an example in PROTOCOL.md.
type docLine struct {
	from string // ">" or "<"
	text string // as it goes over the wire

	broken bool // not a message, which is what the example is about
}

// docExamples returns the blocks of PROTOCOL.md that are fenced with that word.
func docExamples(t *testing.T, fence string) (examples [][]docLine) {
	doc, err := os.ReadFile("PROTOCOL.md")
	require.NoError(t, err)
	escape := regexp.MustCompile(`\\x[0-9a-f]{2}`)
	remark := regexp.MustCompile(`  +# (.*)$`)
	for _, block := range strings.Split(string(doc), "\n```"+fence+"\n")[1:] {
		block, _, _ = strings.Cut(block, "\n```")
		var lines []docLine
		for line := range strings.SplitSeq(block, "\n") {
			broken := strings.Contains(line, "  # not a message")
			line = remark.ReplaceAllString(line, "")
			text := escape.ReplaceAllStringFunc(line[2:], func(s string) string {
				n, err := strconv.ParseUint(s[2:], 16, 8)
				require.NoError(t, err)
				return string([]byte{byte(n)})
			})
			lines = append(lines, docLine{line[:1], text, broken})
		}
		examples = append(examples, lines)
	}
	require.NotEmpty(t, examples)
	return examples
}

// docHandlers are the operations that PROTOCOL.md describes.
func docHandlers(t *testing.T) *gotalk.Handlers {
	h := &gotalk.Handlers{}
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil })
	h.Handle("greet", func(p struct{ Name string }) (map[string]string, error) {
		return map[string]string{"greeting": "Hello " + p.Name}, nil
	})
	h.Handle("fail", func() error { return errors.New("something's amiss") })
	h.HandleBufferRequest("ask", func(s *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		answer, err := s.BufferRequest("question", []byte("how are you"))
		return fmt.Appendf(nil, "they say: %q", answer), err
	})
	h.HandleBufferRequest("hold", func(s *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		<-s.Context().Done()
		return nil, nil
	})
	h.HandleNotification("hello", func() {})
	h.HandleBufferRequest("find", func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		return nil, &gotalk.Error{Code: gotalk.CodeNotFound, Message: "no " + string(b) + " here", Details: []byte(`{"seen":"dog"}`)}
	})
	h.Handle("wait", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	h.HandleBufferRequestContext("whoami", func(ctx context.Context, _ *gotalk.Sock, _ string, _ []byte) ([]byte, error) {
		return []byte(gotalk.MetaFrom(ctx)["user"]), nil
	})
	h.HandleStream("count", func(_ context.Context, st *gotalk.Stream) error {
		for _, text := range []string{"one.", "two.", "three."} {
			if err := st.Send([]byte(text)); err != nil {
				return err
			}
		}
		return nil
	})
	h.HandleStreamRequest("double", func(_ *gotalk.Sock, _ string, in chan []byte, out io.WriteCloser) error {
		for part := range in {
			out.Write(bytes.Repeat(part, 2))
		}
		return nil
	})
	h.HandleStreamRequest("fail", func(*gotalk.Sock, string, chan []byte, io.WriteCloser) error {
		return errors.New("something's amiss")
	})
	return h
}

// requireMessage checks that the line is one whole message, and written as this library would write it.
func requireMessage(t *testing.T, line docLine) {
	if line.broken || line.text == "01" || line.text == "02" {
		return
	}
	r := strings.NewReader(line.text)
	typ, id, name, wait, size, err := gotalk.ReadMsg(r, nil)
	require.NoError(t, err, "%q", line.text)
	if typ == gotalk.MsgTypeHeartbeat || typ == gotalk.MsgTypeProtocolError {
		require.Zero(t, r.Len(), "%q", line.text)
		return
	}
	require.Equal(t, int(size), r.Len(), "payload size of %q", line.text)
	header := line.text[:len(line.text)-r.Len()]
	require.Equal(t, strings.ToLower(header), strings.ToLower(string(gotalk.MakeMsg(typ, id, name, wait, size))))
}

func TestProtocolDocExamples(t *testing.T) {
	replay := func(t *testing.T, lines []docLine, limits *gotalk.Limits) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		server := gotalk.NewServer(docHandlers(t), limits, l)
		go server.Accept() // ends with Close
		defer server.Close()
		conn, err := net.Dial("tcp", server.Addr())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		in := bufio.NewReader(conn)
		if lines[0].text != "01" && lines[0].text != "02" {
			lines = append([]docLine{{from: ">", text: "01"}, {from: "<", text: "01"}}, lines...)
		}
		for _, line := range lines {
			requireMessage(t, line)
			if line.from == ">" {
				_, err := io.WriteString(conn, line.text)
				require.NoError(t, err)
				continue
			}
			require.Equal(t, "<", line.from)
			got := make([]byte, len(line.text))
			n, err := io.ReadFull(in, got)
			require.NoError(t, err, "want %q, got %q", line.text, got[:n])
			if line.text[0] == 'h' { // time and load differ
				require.Equal(t, byte('h'), got[0])
				continue
			}
			require.Equal(t, line.text, string(got))
			if line.text[0] == 'f' {
				_, err := in.ReadByte()
				require.ErrorIs(t, err, io.EOF)
			}
		}
	}
	for _, lines := range docExamples(t, "wire") {
		t.Run(lines[0].text, func(t *testing.T) { replay(t, lines, gotalk.NoLimits) })
	}
	for _, lines := range docExamples(t, "refused") {
		s := serveTCP(t, docHandlers(t), nil)
		s.tcp.Authorize = func(*gotalk.Sock) error { return gotalk.NewError(gotalk.CodePermissionDenied, "not without a key") }
		p := s.mutePeer()
		sent := ""
		for _, line := range lines {
			requireMessage(t, line)
			if line.from == ">" {
				sent += line.text // what is said first is said in one write
				continue
			}
			if sent != "" {
				p.say(sent)
				sent = ""
			}
			p.hearsRaw(line.text)
		}
		p.hears("end")
	}
	for _, lines := range docExamples(t, "limited") {
		limits := gotalk.NewLimits(1, 0)
		limits.BufferMinWait, limits.BufferMaxWait = 1500*time.Millisecond, 1500*time.Millisecond
		replay(t, lines, limits)
	}
}

func TestProtocolDocWebSocketExamples(t *testing.T) {
	for _, lines := range docExamples(t, "websocket") {
		s := gotalk.NewWebSocketServer()
		s.Handlers = docHandlers(t)
		web := httptest.NewServer(s)
		defer web.Close()
		ws, _, err := websocket.DefaultDialer.Dial(strings.Replace(web.URL, "http", "ws", 1), nil)
		require.NoError(t, err)
		defer ws.Close()
		require.NoError(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
		for _, line := range lines {
			if line.from == ">" {
				require.NoError(t, ws.WriteMessage(websocket.BinaryMessage, []byte(line.text)))
				continue
			}
			kind, got, err := ws.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, websocket.BinaryMessage, kind)
			require.Equal(t, line.text, string(got))
		}
	}
}

// The table of messages is what people implement from.
func TestProtocolDocTable(t *testing.T) {
	doc, err := os.ReadFile("PROTOCOL.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| `([a-zA-Z])` \\| .*? \\| (.*?) \\| ([0-9]+)( \\+ N)? \\|").FindAllStringSubmatch(string(doc), -1)
	require.Len(t, rows, 10)
	for _, row := range rows {
		typ, fields := gotalk.MsgType(row[1][0]), row[2]
		id, name := "", ""
		if strings.Contains(fields, "id 4") {
			id = "0001"
		}
		if strings.Contains(fields, "name `N`") {
			name = "name"
		}
		size, err := strconv.Atoi(row[3])
		require.NoError(t, err)
		header := gotalk.MakeMsg(typ, id, name, 0, 0)
		if typ == gotalk.MsgTypeHeartbeat {
			header = gotalk.MakeHeartbeatMsg(0, nil)
		}
		require.Len(t, header, size+len(name), "%c", typ)
		total := 1
		for _, field := range regexp.MustCompile(` (\d)\b`).FindAllStringSubmatch(fields, -1) {
			n, _ := strconv.Atoi(field[1])
			total += n
		}
		require.Equal(t, size, total, "fields of %c", typ)
	}
}
