package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/gotalk-go/gotalk"
)

// What goes over the streams, a line for each part; -> is what their opener sends. {…} is JSON.
//
//	upload    -> uploadRequest
//	          <- place: what the server has of the file, and the hash of that
//	          -> place: from where the client sends, the same offset or 0
//	          -> bytes, up to the file's end
//	          -> place: the hash of the file
//	          <- place: the same
//	download  -> downloadRequest
//	          <- place: the file's size, and from where the server sends
//	          <- bytes, up to the file's end
//	          <- place: the hash of the file
//
// Offsets are multiples of blockSize.
const (
	uploadOp   = "upload"
	downloadOp = "download"
	partSize   = 64 << 10 // of the bytes between
)

type uploadRequest struct {
	Name      string `json:"name"`
	Size      int64  `json:"size"`
	From      string `json:"from"`                // a secret of the uploader's: who knows it may take over its upload
	Overwrite bool   `json:"overwrite,omitempty"` // replace a file of that name
	Hash      string `json:"hash,omitempty"`      // of the file, if it is known: all was sent before, but not the answer received
}

type downloadRequest struct {
	Name   string `json:"name"`
	Offset int64  `json:"offset,omitempty"` // what the client has already
	Hash   string `json:"hash,omitempty"`   // of that
}

type place struct {
	Offset   int64  `json:"offset"`
	Size     int64  `json:"size,omitempty"`
	Hash     string `json:"hash,omitempty"`
	Complete bool   `json:"complete,omitempty"` // there is nothing left to send
}

// fileInfo is an entry of the list of files.
type fileInfo struct {
	Name     string    `json:"name"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// listFiles has the server list its files, and changed tells clients to ask again.
var (
	listFiles = gotalk.Op[struct{}, []fileInfo]{Name: "list"}
	changed   = gotalk.Note[struct{}]{Name: "changed"}
)

func sendJSON(st *gotalk.Stream, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return st.Send(b)
}

func recvJSON(st *gotalk.Stream, v any) error {
	b, err := st.Recv()
	if err == io.EOF {
		return gotalk.NewError(gotalk.CodeAborted, "the stream ended too early")
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return refuse(gotalk.CodeInvalidArgument, "unexpected part of a transfer: %v", err)
	}
	return nil
}

// sendBytes sends what is in r from there to size, and adds it to h. Never more than one part is in memory beside what the
// stream's window holds.
func sendBytes(ctx context.Context, st *gotalk.Stream, r io.ReaderAt, from, size int64, h *treeHash, progress func(int64)) error {
	buf := make([]byte, partSize)
	for at := from; at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.ReadAt(buf[:min(partSize, size-at)], at)
		if err == io.EOF && n == 0 {
			return refuse(gotalk.CodeAborted, "the file has become shorter while it was read")
		}
		if err != nil && err != io.EOF {
			return err
		}
		h.Write(buf[:n])
		if err := st.Send(buf[:n]); err != nil {
			return sendError(st, err)
		}
		at += int64(n)
		progress(at)
	}
	return nil
}

// recvBytes writes what comes from there to size to w, and adds it to h.
func recvBytes(st *gotalk.Stream, w io.WriterAt, from, size int64, h *treeHash, progress func(int64)) error {
	buf := make([]byte, partSize)
	for at := from; at < size; {
		n, err := st.Read(buf[:min(partSize, size-at)])
		if err == io.EOF {
			return refuse(gotalk.CodeAborted, "the transfer ended after %d of %d bytes", at, size)
		}
		if err != nil {
			return err
		}
		if _, err := w.WriteAt(buf[:n], at); err != nil {
			return err
		}
		h.Write(buf[:n])
		at += int64(n)
		progress(at)
	}
	return nil
}

// sendError finds out why sending has failed: when the peer has ended the stream it has said why.
func sendError(st *gotalk.Stream, err error) error {
	if err != gotalk.ErrStreamEnded {
		return err
	}
	for {
		if _, why := st.Recv(); why != nil && why != io.EOF {
			return why
		} else if why == io.EOF {
			return err
		}
	}
}

func refuse(code gotalk.Code, format string, args ...any) error {
	return gotalk.NewError(code, fmt.Sprintf(format, args...))
}
