// Command websocket-chat is a chat with rooms for browsers, in one binary together with its page.
package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gotalk-go/gotalk"
)

//go:embed page
var files embed.FS

func main() {
	addr := flag.String("addr", "localhost:1235", "where to listen; port 0 takes one that is free")
	flag.Parse()
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore) // a second ctrl-c ends the program at once
	gotalk.HandlerErrorLogger = logUnlessRefusal
	if err := run(ctx, *addr, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "websocket-chat:", err)
		os.Exit(1)
	}
}

// run serves the chat until ctx ends.
func run(ctx context.Context, addr string, out io.Writer) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w (-addr chooses another address)", err)
	}
	c := newChat()
	ws := newWebSocketServer(c)
	srv := &http.Server{Handler: newHandler(ws), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }() // ends at Shutdown or Close below
	fmt.Fprintf(out, "Open http://%s in a browser; ctrl-c stops the chat\n", urlHost(addr, l.Addr()))
	select {
	case err = <-failed:
	case <-ctx.Done():
		fmt.Fprintln(out, "Stopping")
	}

	// First the browsers are told, then the WebSockets are closed, which http.Server does not know of, then the rest.
	patience, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c.stop(patience)
	ws.Shutdown(patience)
	if srv.Shutdown(patience) != nil {
		srv.Close()
	}
	return err
}

// urlHost is the host that the flag names, with the port that is really listened at.
func urlHost(addr string, listening net.Addr) string {
	host, _, _ := net.SplitHostPort(addr)
	_, port, _ := net.SplitHostPort(listening.String())
	return net.JoinHostPort(cmp.Or(host, "localhost"), port)
}

func newWebSocketServer(c *chat) *gotalk.WebSocketServer {
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = c.handlers()
	// What this chat's page sends is small, so there is no need to set much memory aside for it.
	ws.Limits = &gotalk.Limits{
		ReadTimeout:     30 * time.Second,
		MaxPayload:      16 << 10,
		MaxHandlers:     8,
		MaxPendingBytes: 64 << 10,
		MaxUnsentBytes:  256 << 10,
	}
	ws.OnConnect = func(s *gotalk.WebSocket) {
		m := c.join(&s.Sock)
		if m == nil {
			s.Notify("sorry", "The chat takes nobody more at the moment. It will be tried again.")
			s.Close()
			return
		}
		s.CloseHandler = func(*gotalk.WebSocket, int) { c.leave(m) }
	}
	return ws
}

func newHandler(ws http.Handler) http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // the compiler has embedded it
	}
	mux := http.NewServeMux()
	mux.Handle("/gotalk/", ws)
	mux.Handle("/", http.FileServerFS(page))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache") // a new version is there at the next reload
		mux.ServeHTTP(w, r)
	})
}

// logUnlessRefusal keeps what people are told about their own input out of the log.
func logUnlessRefusal(s *gotalk.Sock, format string, args ...any) {
	for _, a := range args {
		if err, ok := a.(error); ok && (errors.As(err, new(refusal)) || errors.Is(err, gotalk.ErrSockClosed)) {
			return
		}
	}
	gotalk.DefaultLoggerFunc(s, format, args...)
}
