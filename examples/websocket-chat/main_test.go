package main

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	gotalk.HandlerErrorLogger = logUnlessRefusal
	os.Exit(m.Run())
}

func TestServedOverHTTP(t *testing.T) {
	c := newChat()
	ws := newWebSocketServer(c)
	srv := httptest.NewServer(newHandler(ws))
	defer srv.Close()
	for path, want := range map[string]string{
		"/": "<!doctype html>", "/chat.js": "gotalk.connection()", "/chat.css": "--accent", "/avatar.js": "export function avatar",
		"/icon.svg": "<svg", "/gotalk/gotalk.js": "gotalk",
	} {
		res, err := srv.Client().Get(srv.URL + path)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		require.NoError(t, err)
		require.Equal(t, 200, res.StatusCode, path)
		require.Contains(t, string(body), want, path)
		require.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'self'")
	}

	notes := make(chan note, 100)
	h := &gotalk.Handlers{}
	h.HandleBufferNotification("", func(_ *gotalk.Sock, name string, b []byte) { notes <- note{name, b} })
	s := gotalk.NewSock(h)
	url := "ws" + strings.TrimPrefix(srv.URL, "http") + "/gotalk/"
	require.NoError(t, s.ConnectWebSocket(t.Context(), url, nil, nil))
	_, err := s.BufferRequest("hello", encode(hello{Key: "k"}))
	require.NoError(t, err)
	require.Equal(t, "welcome", (<-notes).name)
	_, err = s.BufferRequest("say", make([]byte, 1<<20))
	require.ErrorContains(t, err, "payload")

	c.stop(t.Context())
	require.NoError(t, ws.Shutdown(t.Context()))
	<-s.Context().Done()
	for name := ""; name != "restart"; name = (<-notes).name {
	}
}

func TestFullChat(t *testing.T) {
	c := newChat()
	for range maxMembers {
		require.NotNil(t, c.join(gotalk.NewSock(nil)))
	}
	defer c.stop(t.Context())
	srv := httptest.NewServer(newHandler(newWebSocketServer(c)))
	defer srv.Close()
	sorry := make(chan string, 1)
	h := &gotalk.Handlers{}
	h.HandleNotification("sorry", func(why string) { sorry <- why })
	s := gotalk.NewSock(h)
	require.NoError(t, s.ConnectWebSocket(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http")+"/gotalk/", nil, nil))
	<-s.Context().Done()
	require.Contains(t, <-sorry, "nobody more")
}

func TestRun(t *testing.T) {
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- run(ctx, "localhost:0", w) }()
	var port int
	_, err := fmt.Fscanf(r, "Open http://localhost:%d in a browser", &port)
	require.NoError(t, err)
	go io.Copy(io.Discard, r) // ends with the pipe

	taken := run(t.Context(), fmt.Sprintf("localhost:%d", port), io.Discard)
	require.ErrorContains(t, taken, fmt.Sprintf(":%d: ", port))
	require.ErrorContains(t, taken, "-addr chooses another address")

	cancel()
	require.NoError(t, <-result)
	w.Close()
}
