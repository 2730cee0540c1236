package main

import (
	"bytes"
	"context"
	"net/http"
	"strconv"

	"github.com/gotalk-go/gotalk"
)

func init() {
	register(&Peer{
		Name: "gotalk WebSocket",
		Does: does(Echo, Beside, Call, Notify, Idle, Broadcast),
		Serve: func(s *Server) error {
			ws := gotalk.NewWebSocketServer()
			ws.Handlers = gotalkHandlers(s)
			conns := broadcastTo(s, gotalkBroadcast)
			ws.OnConnect = func(ws *gotalk.WebSocket) {
				conns.add(&ws.Sock)
				ws.CloseHandler = func(ws *gotalk.WebSocket, _ int) { conns.remove(&ws.Sock) }
			}
			return http.Serve(s.Listener, ws)
		},
		Dial: func(addr string) (*Conn, error) {
			s, err := gotalk.ConnectWebSocket(context.Background(), "ws://"+addr+"/", nil)
			return gotalkConn(s), err
		},
		Receive: receiveGotalk,
	})
}

func gotalkBroadcast(all []*gotalk.Sock, b []byte) error {
	p, err := gotalk.PrepareBufferNotification("news", b)
	if err != nil {
		return err
	}
	for _, s := range all {
		if err := s.NotifyPrepared(p); err != nil {
			return err
		}
	}
	return nil
}

// receiveGotalk says what gotalk.js says when it connects, as far as it matters: that header and payload may share a
// WebSocket message.
func receiveGotalk(addr string, got func([]byte), lost func(error)) error {
	const hello = `{"join":1}`
	var b bytes.Buffer
	gotalk.WriteVersion(&b)
	b.Write(gotalk.MakeMsg(gotalk.MsgTypeNotification, "", "gotalk:hello", 0, uint32(len(hello))))
	b.WriteString(hello)
	return receiveWebSocket(addr, b.Bytes(), func(m []byte) {
		for len(m) >= gotalkNewsHeader && string(m[4:8]) == "news" { // else it is the server's version or hello
			size, _ := strconv.ParseUint(string(m[8:gotalkNewsHeader]), 16, 32)
			end := min(gotalkNewsHeader+int(size), len(m))
			got(m[gotalkNewsHeader:end])
			m = m[end:]
		}
	}, lost)
}

// n, the name's length in 3 digits, the name, and the payload's length in 8
const gotalkNewsHeader = 1 + 3 + len("news") + 8
