package gotalk_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
)

func TestZZRepro(t *testing.T) {
	lost := 0
	for range 200 {
		ws := &gotalk.WebSocketServer{Handlers: &gotalk.Handlers{}, Limits: gotalk.DefaultLimits}
		var server *gotalk.Sock
		up := make(chan bool)
		ws.OnConnect = func(s *gotalk.WebSocket) { server = &s.Sock; close(up) }
		srv := httptest.NewServer(ws)
		notes := make(chan string, 10)
		h := &gotalk.Handlers{}
		h.HandleBufferNotification("", func(_ *gotalk.Sock, name string, b []byte) { notes <- name })
		s := gotalk.NewSock(h)
		s.ConnectWebSocket(context.Background(), "ws"+strings.TrimPrefix(srv.URL, "http")+"/gotalk/", nil, nil)
		<-up
		server.Notify("restart", nil)
		ws.Shutdown(context.Background())
		<-s.Context().Done()
		select {
		case <-notes:
		case <-time.After(200 * time.Millisecond):
			lost++
		}
		srv.Close()
	}
	t.Log("lost", lost)
}
