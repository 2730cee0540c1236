package main

import (
	"errors"
	"io"
	"sync"

	"github.com/gorilla/websocket"
)

// Conns are the connections that a server broadcasts to.
type Conns[T comparable] struct {
	s   *Server
	mu  sync.Mutex
	all map[T]struct{}
}

// broadcastTo makes a server able to broadcast, which send does, to those connections that are open. It is not called
// concurrently.
func broadcastTo[T comparable](s *Server, send func(all []T, b []byte) error) *Conns[T] {
	c := &Conns[T]{s: s, all: map[T]struct{}{}}
	f := func(b []byte) error { return send(c.list(), b) }
	s.broadcast.Store(&f)
	return c
}

func (c *Conns[T]) list() (all []T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.all {
		all = append(all, conn)
	}
	return all
}

func (c *Conns[T]) add(conn T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[conn] = struct{}{}
	c.s.open.Add(1)
}

func (c *Conns[T]) remove(conn T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, conn)
}

// receiveWebSocket is for Peer.Receive of all that speak WebSocket: a client that does as little as one can, so that it is
// the server that is measured. hello is sent first, if it isn't nil; take is called with each message and calls got
// with the payloads that are broadcast in it.
func receiveWebSocket(addr string, hello []byte, take func(message []byte), lost func(error)) error {
	d := websocket.Dialer{ReadBufferSize: 512, WriteBufferSize: 256}
	ws, _, err := d.Dial("ws://"+addr+"/", nil)
	if err != nil {
		return err
	}
	if hello != nil {
		if err = ws.WriteMessage(websocket.TextMessage, hello); err != nil {
			return err
		}
	}
	go func() { // ends when the connection does
		for buf := make([]byte, 4096); ; {
			n, err := readMessage(ws, buf)
			if err != nil {
				lost(err)
				return
			}
			take(buf[:n])
		}
	}()
	return nil
}

func readMessage(ws *websocket.Conn, buf []byte) (n int, err error) {
	_, r, err := ws.NextReader()
	for err == nil {
		if n == len(buf) {
			return n, errors.New("a message is too long")
		}
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}
