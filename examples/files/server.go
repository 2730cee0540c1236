package main

import (
	"context"
	"sync"
	"time"

	"github.com/gotalk-go/gotalk"
)

// server serves the files of a store to any number of peers.
type server struct {
	files *store
	max   int64 // bytes of a file that is uploaded

	mu      sync.Mutex
	uploads map[string]*claim         // those under way, by name
	socks   map[*gotalk.Sock]struct{} // who is told when the list of files changes
}

// claim is the right to write a file, which one upload has at a time.
type claim struct {
	from string
	sock *gotalk.Sock
	ctx  context.Context
	done chan struct{} // closed when the right is given back
}

func newServer(files *store, max int64) *server {
	return &server{files: files, max: max, uploads: map[string]*claim{}, socks: map[*gotalk.Sock]struct{}{}}
}

func (s *server) handlers() *gotalk.Handlers {
	h := &gotalk.Handlers{}
	h.HandleStream(uploadOp, s.upload)
	h.HandleStream(downloadOp, s.download)
	listFiles.Handle(h, func(context.Context, *gotalk.Sock, struct{}) ([]fileInfo, error) { return s.files.list() })
	return h
}

// webSocketServer serves the peers' connections. What a peer may have under way is little: streams take turns by their
// windows, so that what is in memory does not depend on how large files are.
func (s *server) webSocketServer() *gotalk.WebSocketServer {
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = s.handlers()
	ws.Limits = &gotalk.Limits{
		ReadTimeout:     30 * time.Second,
		StreamRequests:  32,
		MaxPayload:      1 << 20,
		MaxHandlers:     8,
		MaxPendingBytes: 8 << 20,
	}
	ws.OnConnect = func(w *gotalk.WebSocket) {
		s.mu.Lock()
		s.socks[&w.Sock] = struct{}{}
		s.mu.Unlock()
		w.CloseHandler = func(*gotalk.WebSocket, int) {
			s.mu.Lock()
			delete(s.socks, &w.Sock)
			s.mu.Unlock()
		}
	}
	return ws
}

// tellAll lets everybody know that the list of files has changed.
func (s *server) tellAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sock := range s.socks {
		go changed.Send(sock.Context(), sock, struct{}{}) // ends when it is written, or with the connection
	}
}

// upload takes a file. What comes is kept when the connection is lost, and the file is seen when it is complete.
func (s *server) upload(ctx context.Context, st *gotalk.Stream) error {
	var req uploadRequest
	if err := recvJSON(st, &req); err != nil {
		return err
	}
	switch err := checkName(req.Name); {
	case err != nil:
		return err
	case req.Size < 0:
		return refuse(gotalk.CodeInvalidArgument, "a file cannot have %d bytes", req.Size)
	case req.Size > s.max:
		return refuse(gotalk.CodeResourceExhausted, "the file has %s, and the server takes %s at most", formatSize(req.Size), formatSize(s.max))
	}
	end, err := s.receive(ctx, st, &req)
	if err != nil {
		return storeError(err)
	}
	return sendJSON(st, end)
}

// receive takes what is missing of a file, and returns what is to be answered when it is complete.
func (s *server) receive(ctx context.Context, st *gotalk.Stream, req *uploadRequest) (end place, err error) {
	c := &claim{req.From, st.Sock(), ctx, make(chan struct{})}
	if err := s.claim(req.Name, c); err != nil {
		return end, err
	}
	defer s.giveBack(req.Name, c) // before the answer, on which the client may go on at once

	if have, err := s.have(ctx, req); have || err != nil {
		return place{Offset: req.Size, Hash: req.Hash, Complete: true}, err
	}
	f, size, err := s.files.openPartial(req.Name)
	if err != nil {
		return end, err
	}
	defer f.Close() // once more does nothing

	// The client may have other bytes under this name by now. It compares hashes, and says where it begins.
	h := &treeHash{}
	offset := blocks(min(size, req.Size))
	if err := h.extend(ctx, f, offset); err != nil {
		return end, err
	}
	if err := sendJSON(st, place{Offset: offset, Hash: h.sum()}); err != nil {
		return end, err
	}
	var begin place
	if err := recvJSON(st, &begin); err != nil {
		return end, err
	}
	if begin.Offset != 0 && begin.Offset != offset {
		return end, refuse(gotalk.CodeOutOfRange, "an upload goes on at %d or begins at 0, not at %d", offset, begin.Offset)
	}
	h.truncate(begin.Offset)
	if err := f.Truncate(begin.Offset); err != nil {
		return end, err
	}
	if err := recvBytes(st, f, begin.Offset, req.Size, h, func(int64) {}); err != nil {
		return end, err
	}
	if err := recvJSON(st, &end); err != nil {
		return end, err
	}
	if end.Hash != h.sum() {
		s.files.dropPartial(req.Name)
		return end, refuse(gotalk.CodeDataLoss, "what came is not what was sent: the hash differs; upload the file again")
	}
	if err := s.files.complete(f, req.Name); err != nil {
		return end, err
	}
	s.tellAll()
	return place{Offset: req.Size, Hash: end.Hash}, nil
}

// have tells whether the very file is there already. One of that name that must not be replaced is an error.
func (s *server) have(ctx context.Context, req *uploadRequest) (bool, error) {
	f, size, err := s.files.open(req.Name)
	if gotalk.CodeOf(err) == gotalk.CodeNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if req.Hash != "" && size == req.Size {
		h := &treeHash{}
		if err := h.extend(ctx, f, size); err != nil {
			return false, storeError(err)
		}
		if h.sum() == req.Hash {
			return true, nil
		}
	}
	if !req.Overwrite {
		return false, refuse(gotalk.CodeAlreadyExists, "there is a file %q already", req.Name)
	}
	return false, nil
}

// claim waits for an upload of the same uploader that is over, or whose connection it has lost while we have not
// noticed. Of others there can be only one.
func (s *server) claim(name string, c *claim) error {
	for {
		s.mu.Lock()
		old := s.uploads[name]
		if old == nil {
			s.uploads[name] = c
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		switch {
		case c.from == "" || c.from != old.from || c.sock == old.sock && old.ctx.Err() == nil:
			return refuse(gotalk.CodeAborted, "%q is being uploaded already; try again when that is over", name)
		case c.sock != old.sock:
			old.sock.Close()
		}
		select {
		case <-old.done:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

func (s *server) giveBack(name string, c *claim) {
	s.mu.Lock()
	delete(s.uploads, name)
	s.mu.Unlock()
	close(c.done)
}

// download sends a file, from where the client has it already.
func (s *server) download(ctx context.Context, st *gotalk.Stream) error {
	var req downloadRequest
	if err := recvJSON(st, &req); err != nil {
		return err
	}
	if err := checkName(req.Name); err != nil {
		return err
	}
	if req.Offset < 0 || req.Offset%blockSize != 0 {
		return refuse(gotalk.CodeOutOfRange, "a download goes on at a multiple of %d, not at %d", blockSize, req.Offset)
	}
	f, size, err := s.files.open(req.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	h := &treeHash{}
	offset := req.Offset
	if offset <= size {
		if err := h.extend(ctx, f, offset); err != nil {
			return storeError(err)
		}
	}
	if h.size() != offset || offset > 0 && h.sum() != req.Hash { // the client has the beginning of another file
		offset = 0
		h.truncate(0)
	}
	if err := sendJSON(st, place{Offset: offset, Size: size}); err != nil {
		return err
	}
	if err := sendBytes(ctx, st, f, offset, size, h, func(int64) {}); err != nil {
		return storeError(err)
	}
	return sendJSON(st, place{Offset: size, Hash: h.sum()})
}
