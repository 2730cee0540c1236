// Command server is what the browser's tests talk to.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gotalk-go/gotalk"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	dist := flag.String("dist", "", "folder with the builds of gotalk.js, to serve as /dist/")
	allow := flag.String("allow", "", "origins that may connect, with commas between")
	next := flag.String("next", "", "URL of another such server, to call")
	flag.Parse()
	gotalk.HandlerErrorLogger = nil // they fail on purpose

	h := &gotalk.Handlers{}
	echo := func(_ *gotalk.Sock, _ string, b []byte) ([]byte, error) { return b, nil }
	for _, op := range []string{"echo", "constructor", "__proto__", "toString", "😀\x00"} {
		h.HandleBufferRequest(op, echo)
	}
	h.Handle("double", func(n float64) (float64, error) { return 2 * n, nil })
	h.Handle("fail", func(why string) error { return fmt.Errorf("%s", why) })
	h.HandleStreamRequest("echo", echoStream)
	h.HandleBufferNotification("note", func(s *gotalk.Sock, _ string, b []byte) { s.BufferNotify("noted", b) })

	// The server calls the page that calls this, and returns what the page said.
	h.HandleBufferRequest("call", func(s *gotalk.Sock, _ string, b []byte) ([]byte, error) {
		op, payload, _ := bytes.Cut(b, []byte(" "))
		return s.BufferRequest(string(op), payload)
	})
	h.HandleBufferRequest("call-stream", callStream)
	handleCalls(h, *next)
	handleStreams(h)

	ws := gotalk.NewWebSocketServer()
	ws.Handlers, ws.Limits = h, gotalk.NoLimits
	if *allow != "" {
		ws.AllowedOrigins = strings.Split(*allow, ",")
	}
	http.Handle("/gotalk/", ws)
	http.Handle("/other/mount/", ws)
	refusing := gotalk.NewWebSocketServer()
	refusing.Authorize = func(*http.Request) (any, error) {
		return nil, gotalk.NewError(gotalk.CodeUnauthenticated, "log in first")
	}
	http.Handle("/refusing/", refusing)
	http.Handle("/dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(*dist))))
	page := func(path, head string) {
		http.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "<!doctype html><title>test</title><link rel=icon href=data:,>%s\n", head)
		})
	}
	page("/{$}", `<script src="/gotalk/gotalk.js"></script>`)
	page("/other", `<script src="other/mount/gotalk.js?x=1"></script>`)
	page("/module", `<script type="module">
		import gotalk, { Sock, version } from "/dist/gotalk.mjs";
		window.loaded = { gotalk, Sock, version };
	</script>`)
	page("/script-as-module", `<script type="module" src="/gotalk/gotalk.js"></script>`)

	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())
	go func() {
		err := http.Serve(l, nil)
		if !errors.Is(err, net.ErrClosed) {
			log.Fatal(err)
		}
	}()

	// SIGTERM ends it in order, SIGKILL as a power failure would.
	terminated, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-terminated.Done()
	l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := ws.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}

func echoStream(_ *gotalk.Sock, _ string, rch chan []byte, out io.WriteCloser) error {
	for b := range rch {
		if string(b) == "fail" {
			return fmt.Errorf("told to fail")
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// callStream sends each word as a part of a stream to the page, and returns what the page answers, with | between.
func callStream(s *gotalk.Sock, _ string, b []byte) ([]byte, error) {
	words := bytes.Fields(b)
	r, results := s.StreamRequest(string(words[0]))
	// A page may have answered before it has got everything: what it said is below.
	for _, w := range words[1:] {
		if err := r.Write(w); err != nil && !errors.Is(err, gotalk.ErrStreamEnded) {
			return nil, err
		}
	}
	if err := r.End(); err != nil && !errors.Is(err, gotalk.ErrStreamEnded) {
		return nil, err
	}
	var parts [][]byte
	for res := range results {
		if res.IsError() {
			return nil, &res
		}
		parts = append(parts, res.Data)
	}
	return bytes.Join(parts, []byte("|")), nil
}
