package main

import (
	"net/http"

	"github.com/gorilla/websocket"
)

// gorilla/websocket as most use it: buffers as they are by default, and the goroutine of the HTTP handler reads.
func init() {
	register(&Peer{
		Name:  "gorilla",
		Group: Theirs,
		Does:  does(Idle, Broadcast),
		Serve: func(s *Server) error {
			conns := broadcastTo(s, gorillaBroadcast)
			var up websocket.Upgrader
			return http.Serve(s.Listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ws, err := up.Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer ws.Close()
				conns.add(ws)
				defer conns.remove(ws)
				for err == nil {
					_, _, err = ws.ReadMessage()
				}
			}))
		},
		Receive: func(addr string, got func([]byte), lost func(error)) error {
			return receiveWebSocket(addr, nil, got, lost)
		},
	})
}

func gorillaBroadcast(all []*websocket.Conn, b []byte) error {
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, b)
	if err != nil {
		return err
	}
	for _, ws := range all {
		if err := ws.WritePreparedMessage(m); err != nil {
			return err
		}
	}
	return nil
}
