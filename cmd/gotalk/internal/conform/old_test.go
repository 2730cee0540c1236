package conform_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
	"github.com/stretchr/testify/require"
)

// oldPeer listens as gotalk 1.3.7 was seen to: with echo as a request and as a stream, call, and no extensions.
type oldPeer struct {
	net.Listener
	died chan struct{}
}

func startOldPeer(t testing.TB) *oldPeer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &oldPeer{l, make(chan struct{})}
	go func() { // ends with the listener
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(nc)
		}
	}()
	t.Cleanup(func() { l.Close() })
	return p
}

func (p *oldPeer) serve(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	say := func(t gotalk.MsgType, id, payload string) {
		nc.Write(gotalk.MakeMsg(t, id, "", 0, uint32(len(payload))))
		io.WriteString(nc, payload)
	}
	io.WriteString(nc, "01")
	if v, err := r.Peek(2); err != nil || string(v) != "01" {
		return
	}
	r.Discard(2)
	streams := map[string]bool{}
	calls, parts := map[string]msg{}, 0 // of ours, by their id, and the request that each is for
	ask := func(m msg) {
		id := fmt.Sprintf("c%03d", len(calls))
		calls[id] = m
		nc.Write(gotalk.MakeMsg(gotalk.MsgTypeSingleReq, id, "answer", 0, uint32(len(m.payload))))
		io.WriteString(nc, m.payload)
	}
	for {
		if _, err := r.Peek(13); err != nil { // f is shorter, and noticed when the end follows
			return
		}
		m, err := readMsg(r)
		if err != nil {
			return
		}
		if m.is("n") && m.name == "" {
			r.Discard(1)
		}
		switch {
		case m.is("r") && m.name == "echo":
			say(gotalk.MsgTypeSingleRes, m.id, m.payload)
		case m.is("r") && m.name == "call":
			ask(m)
		case m.is("RESe"):
			request, known := calls[m.id]
			if !known {
				break
			}
			switch {
			case m.is("RE"):
				calls[m.id] = msg{}
				if request.id != "" {
					say(m.t, request.id, m.payload)
				}
			case m.is("e"):
				time.Sleep(time.Duration(m.wait) * time.Millisecond)
				ask(request)
			default:
				if parts++; parts == 1 {
					say(gotalk.MsgTypeErrorRes, request.id, "unexpected streaming response")
				} else if parts == 3 {
					io.Copy(io.Discard, nc) // it reads no further
					return
				}
			}
		case m.is("rs") && m.name != "echo":
			say(gotalk.MsgTypeErrorRes, m.id, `unknown operation "`+m.name+`"`)
		case m.is("s"):
			if _, seen := streams[m.id]; seen {
				p.Close() // it panics
				close(p.died)
				return
			}
			streams[m.id] = true
			if m.payload != "" {
				say(gotalk.MsgTypeStreamRes, m.id, m.payload)
			}
		case m.is("p"):
			if !streams[m.id] {
				return
			}
			say(gotalk.MsgTypeStreamRes, m.id, m.payload)
			streams[m.id] = m.payload != ""
		case m.is("f"):
			return
		case !m.is("RSEenh"):
			io.WriteString(nc, "f00000002")
			return
		}
	}
}

// What is known of peers of old is said, and is no failure if that was asked for.
func TestKnownDeviations(t *testing.T) {
	t.Parallel()
	p := startOldPeer(t)
	o := options(p.Addr().String())
	o.Ops = map[string]string{"stream": "echo"}
	o.Known = "gotalk-1.3.7"
	silent := only("protocol-error-taken|call-stream-result") // which take all the time that they have
	var others []string
	conform.EachCheck(func(_, name string) {
		if !silent.MatchString(name) {
			others = append(others, name)
		}
	})
	o.Run = only(strings.Join(others, "|"))
	r := check(t, o)
	o.Run, o.Timeout = silent, time.Second/2
	r.Results = append(r.Results, check(t, o).Results...)
	o.Timeout = 10 * time.Second
	require.Empty(t, ended(r, conform.Failed))
	require.ElementsMatch(t, []string{"version-unsupported", "version-garbage", "notification-empty-name", "stream-refused",
		"stream-id-again", "stream-id-in-use", "part-of-no-stream", "size-not-hexadecimal", "size-lookalikes", "name-size-not-hex",
		"result-size-not-hex", "protocol-error-taken", "heartbeat-answered", "call-stream-result"}, ended(r, conform.Known))

	o.Known, o.Run = "", regexp.MustCompile("^(version-unsupported|heartbeat-answered|stream-id-again|type-unknown)$")
	r = check(t, o)
	require.Equal(t, []string{"version-unsupported", "stream-id-again", "type-unknown", "heartbeat-answered"},
		ended(r, conform.Failed))
	<-p.died
	for _, result := range r.Results {
		switch result.Name {
		case "version-unsupported":
			require.Equal(t, "as gotalk-1.3.7 does: closes without a protocol error", result.As)
		case "stream-id-again":
			require.Contains(t, result.Came, "and the peer takes no connections any more")
			require.Contains(t, result.As, "as gotalk-1.3.7 does: panics")
		default:
			require.Contains(t, result.Came, "it has taken none since check stream-id-again")
		}
	}
}

// Deviations that are known are for checks that there are.
func TestKnownDeviationsNameChecks(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	conform.EachCheck(func(_, name string) { names[name] = true })
	for _, peer := range strings.Split(conform.KnownPeers(), " and ") {
		for _, name := range conform.KnownChecks(peer) {
			require.True(t, names[name], "%s of %s", name, peer)
		}
	}
}
