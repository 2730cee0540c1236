package main

import (
	"context"
	"net/http"

	"github.com/gotalk-go/gotalk"
)

func init() {
	register(&Peer{
		Name: "gotalk WebSocket",
		Does: does(Echo, Beside, Call, Notify),
		Serve: func(s *Server) error {
			ws := gotalk.NewWebSocketServer()
			ws.Handlers = gotalkHandlers(s)
			return http.Serve(s.Listener, ws)
		},
		Dial: func(addr string) (*Conn, error) {
			s, err := gotalk.ConnectWebSocket(context.Background(), "ws://"+addr+"/", nil)
			return gotalkConn(s), err
		},
	})
}
