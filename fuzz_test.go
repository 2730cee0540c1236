package gotalk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// addHeaders seeds a fuzz target with headers of all types, whole, cut and slightly wrong.
func addHeaders(f *testing.F) {
	for _, typ := range headerTypes + "x" {
		b := gotalk.AppendHeader(nil, gotalk.MsgType(typ), [4]byte{'a', 0, 0xff, '0'}, "opé", 0xabc, 5)
		f.Add(append(b, "hello"...))
		f.Add(b[:len(b)-1])
		f.Add(bytes.ToUpper(b))
	}
	f.Add([]byte("raaaa000ffffffff"))
	f.Add([]byte("n-01x00000000"))
	f.Add([]byte{})
}

// FuzzParseHeader: the parser of the read loop never panics, never goes past its input, and agrees with ReadMsg.
func FuzzParseHeader(f *testing.F) {
	addHeaders(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, id, name, wait, size, n, err := gotalk.ParseHeader(b[:len(b):len(b)])
		in := bytes.NewReader(b)
		typ2, id2, name2, wait2, size2, err2 := gotalk.ReadMsg(in, nil)
		switch {
		case err != nil:
			require.Error(t, err2)
			require.NotErrorIs(t, err2, io.EOF)
		case n <= 0:
			require.Equal(t, io.EOF, err2)
		default:
			require.NoError(t, err2)
			require.LessOrEqual(t, n, len(b))
			require.Equal(t, n, len(b)-in.Len())
			require.Equal(t, typ, typ2)
			require.Equal(t, string(name), name2)
			require.Equal(t, [2]uint32{wait, size}, [2]uint32{wait2, size2})
			if id2 != "" {
				require.Equal(t, string(id[:]), id2)
			}
			again := gotalk.AppendHeader(nil, typ, id, string(name), wait, size)
			require.Equal(t, strings.ToLower(string(b[n-8:n])), string(again[len(again)-8:]))
			require.Len(t, again, n)
		}
	})
}

// FuzzRoundTrip: what is made is what is read.
func FuzzRoundTrip(f *testing.F) {
	for i, typ := range headerTypes {
		f.Add(byte(typ), "aaaa", strings.Repeat("ü", i), uint32(i), uint32(1)<<(3*i))
	}
	f.Fuzz(func(t *testing.T, typ byte, id, name string, wait, size uint32) {
		i := strings.IndexByte(headerTypes, typ)
		if i < 0 {
			typ = headerTypes[int(typ)%len(headerTypes)]
		}
		id = (id + "\x00\x00\x00\x00")[:4]
		name = name[:min(len(name), 4095)]
		hasID, hasName, hasWait := strings.IndexByte("rspRSEe", typ) >= 0, strings.IndexByte("rsn", typ) >= 0, typ == 'e'
		if !hasID {
			id = ""
		}
		if !hasName {
			name = ""
		}
		if !hasWait {
			wait = 0
		}
		b := gotalk.MakeMsg(gotalk.MsgType(typ), id, name, wait, size)
		if typ == 'h' { // of its own kind: the load comes first
			wait &= 0xffff
			b = gotalk.AppendHeader(nil, 'h', [4]byte{}, "", wait, size)
		} else {
			require.Equal(t, string(b), string(gotalk.AppendHeader(nil, gotalk.MsgType(typ), [4]byte([]byte((id + "\x00\x00\x00\x00")[:4])), name, wait, size)))
		}
		typ2, id2, name2, wait2, size2, err := gotalk.ReadMsg(bytes.NewReader(b), nil)
		require.NoError(t, err)
		require.Equal(t, []any{gotalk.MsgType(typ), id, name, wait, size}, []any{typ2, id2, name2, wait2, size2})
	})
}

// FuzzReadVersion: two bytes are read, and only those that say 1 are ours.
func FuzzReadVersion(f *testing.F) {
	for _, s := range []string{"01", "02", "0", "", "zz", "011", "f1", "-1", "0x", "1 "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		v, err := gotalk.ReadVersion(in)
		require.Equal(t, min(2, len(b)), len(b)-in.Len())
		switch {
		case len(b) < 2:
			require.Equal(t, io.EOF, err)
		case string(b[:2]) == "01":
			require.NoError(t, err)
			require.Equal(t, gotalk.ProtocolVersion, v)
		default:
			require.Error(t, err)
		}
	})
}

// fuzzLimits let a fuzzer get somewhere in little time and memory.
var fuzzLimits = &gotalk.Limits{StreamRequests: 3, BufferRequests: 3, MaxPayload: 1 << 16, ReadTimeout: time.Second}

func fuzzHandlers() *gotalk.Handlers {
	h := streamHandlers()
	h.Handle("json", func(_ *gotalk.Sock, v map[string]any) (any, error) { return v, nil })
	h.Handle("wait", func(ctx context.Context, v any) (any, error) { <-ctx.Done(); return v, ctx.Err() })
	h.HandleBufferNotification("", func(*gotalk.Sock, string, []byte) {})
	return h
}

var conversations = []string{
	"raaaa004echo00000002hi", "saaaa004copy00000001xpaaaa00000001ypaaaa00000000", "n004note00000000", "h000112345678",
	"Raaaa00000000", "eaaaa0000000100000000", "Eaaaa00000002no", "f00000003", "raaaa004json00000002{}", "saaaa003all00000000saaaa003all00000000",
	"saaaa005panic00000000", "raaaa004nopeffffffff", "x000000000000", "n00cgotalk:hello00000002{}",
	`n00cgotalk:hello0000001b{"cancel":1,"meta":1,"e":1}n00bgotalk:meta00000014aaaa{"timeout_ms":1}raaaa004wait00000002{}n00dgotalk:cancel00000004aaaa`,
	`n00cgotalk:hello0000000b{"split":9}n00bgotalk:meta0000000faaaa{"size":10}saaaa004echo00000004ten_paaaa00000006bytes!paaaa00000000`,
	`n00cgotalk:hello00000002{}` + "S\x00\x00\x00\x0000000004ten_S\x00\x00\x00\x0000000006bytes!S\x00\x00\x00\x0000000000",
	"paaaa00000000", "raaaa000",
}

// FuzzServerBytes: whatever a peer sends, the Sock neither dies nor hangs.
func FuzzServerBytes(f *testing.F) {
	for _, c := range conversations {
		f.Add([]byte("01" + c))
	}
	f.Add([]byte("01" + strings.Join(conversations[:6], "")))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	h := fuzzHandlers()
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		s := quietSock(h)
		s.Adopt(networked{ours})
		served := inBackground(func() error {
			if err := s.Handshake(); err != nil {
				return err
			}
			result := inBackground(func() error { _, err := s.BufferRequest("a", nil); return err })
			return errors.Join(s.Read(fuzzLimits), <-result)
		})
		read := inBackground(func() error { _, err := io.Copy(io.Discard, theirs); return err })
		theirs.Write(b) // as much of it as the Sock bears with
		theirs.Close()
		await(t, read)
		require.Error(t, await(t, served))
		require.True(t, s.IsClosed())
		require.NoError(t, s.Close())
	})
}

// FuzzJSONHandlers: whatever the payload, a handler gets a value or the requestor an error.
func FuzzJSONHandlers(f *testing.F) {
	for _, s := range []string{"", "null", "1", `"a"`, `{"A":1,"B":["x"]}`, "[1,2]", "true", "{", "1e999", `"\ud800"`, " 1 ", "1 2", "\xff"} {
		f.Add([]byte(s))
	}
	type record struct {
		A int
		B []string
		C *record
	}
	h := gotalk.NewHandlers()
	h.Handle("int", func(v int) (int, error) { return v, nil })
	h.Handle("string", func(_ *gotalk.Sock, v string) (string, error) { return v, nil })
	h.Handle("record", func(_ *gotalk.Sock, _ string, v record) (record, error) { return v, nil })
	h.Handle("pointer", func(v *record) (*record, error) { return v, nil })
	h.Handle("any", func(v any) (any, error) { return v, nil })
	h.Handle("raw", func(v json.RawMessage) (json.RawMessage, error) { return v, nil })
	h.Handle("none", func() error { return nil })
	noted := false
	h.HandleNotification("note", func(record) { noted = true })
	f.Fuzz(func(t *testing.T, b []byte) {
		s := gotalk.NewSock(h)
		for op, target := range map[string]any{
			"int": new(int), "string": new(string), "record": new(record), "pointer": new(*record), "any": new(any),
			"raw": new(json.RawMessage), "none": nil,
		} {
			in := bytes.Clone(b)
			out, err := h.FindBufferRequestHandler(op)(s, op, in)
			require.Equal(t, b, in, "the payload is left alone")
			switch {
			case target == nil:
				require.NoError(t, err)
				require.Empty(t, out)
			case json.Unmarshal(b, target) != nil:
				require.EqualError(t, err, "unexpected parameter type")
			default:
				require.NoError(t, err)
				require.True(t, json.Valid(out), "%s: %q", op, out)
			}
		}
		noted = false
		h.FindNotificationHandler("note")(s, "note", b)
		require.True(t, noted)
	})
}

// FuzzWebSocketBytes: so it is with what comes where WebSocket frames should.
func FuzzWebSocketBytes(f *testing.F) {
	w := &wire{ws: true, client: true}
	for _, c := range conversations {
		b := w.appendFrame(nil, true, 2, []byte("01"))
		f.Add(w.appendFrame(b, true, 1, []byte(c)))
		f.Add(w.appendFrame(w.appendFrame(b, false, 2, []byte(c[:5])), true, 0, []byte(c[5:])))
	}
	f.Add([]byte("\x82\xff\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00x"))
	f.Add([]byte("\x89\x82\x00\x00\x00\x00hi\x88\x82\x00\x00\x00\x00\x03\xe8"))
	s := gotalk.NewWebSocketServer()
	s.Handlers, s.Limits = fuzzHandlers(), fuzzLimits
	served := make(chan struct{}, 1)
	l := newPipeListener()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
		served <- struct{}{}
	})}
	stopped := inBackground(func() error { return server.Serve(l) })
	f.Cleanup(func() {
		server.Close()
		<-stopped
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		nc := l.dial()
		defer nc.Close()
		br := upgrade(t, nc, "http://127.0.0.1")
		read := inBackground(func() error { _, err := io.Copy(io.Discard, br); return err })
		nc.Write(b)
		nc.Close()
		await(t, read)
		await(t, served)
	})
}
