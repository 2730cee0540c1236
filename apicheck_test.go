package gotalk_test

// What gotalk 1.3.7 exports must be here with the same types, so that programs written for it compile. This file has no
// test that runs: it holds as soon as it compiles. Where it knowingly differs from that version: WebSocketConnection is
// a connection of gorilla/websocket, WebSocketServer has no field Server, JSLibString and JSLibSHA1Base64 are variables,
// and structs may have more fields.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/gotalk-go/gotalk"
)

// Constants, each used as its kind must allow.
const (
	_ uint8          = gotalk.ProtocolVersion
	_ gotalk.MsgType = gotalk.MsgTypeSingleReq
	_ gotalk.MsgType = gotalk.MsgTypeStreamReq
	_ gotalk.MsgType = gotalk.MsgTypeStreamReqPart
	_ gotalk.MsgType = gotalk.MsgTypeSingleRes
	_ gotalk.MsgType = gotalk.MsgTypeStreamRes
	_ gotalk.MsgType = gotalk.MsgTypeErrorRes
	_ gotalk.MsgType = gotalk.MsgTypeRetryRes
	_ gotalk.MsgType = gotalk.MsgTypeNotification
	_ gotalk.MsgType = gotalk.MsgTypeHeartbeat
	_ gotalk.MsgType = gotalk.MsgTypeProtocolError
	// Untyped: they go with any type of number.
	_ int32   = gotalk.ProtocolErrorAbnormal + gotalk.ProtocolErrorUnsupported + gotalk.ProtocolErrorInvalidMsg + gotalk.ProtocolErrorTimeout
	_ uint64  = gotalk.ProtocolErrorTimeout
	_ float64 = gotalk.ProtocolErrorTimeout
	_ uint32  = gotalk.Unlimited
	_ string  = gotalk.Version
)

var _, _ string = gotalk.JSLibString, gotalk.JSLibSHA1Base64

// Variables, whose address can be taken, of exactly these types.
var (
	_ *int               = &gotalk.HeartbeatMsgMaxLoad
	_ *error             = &gotalk.ErrUnexpectedStreamingRes
	_ *error             = &gotalk.ErrSockClosed
	_ *error             = &gotalk.ErrAbnormal
	_ *error             = &gotalk.ErrUnsupported
	_ *error             = &gotalk.ErrInvalidMsg
	_ *error             = &gotalk.ErrTimeout
	_ **gotalk.Handlers  = &gotalk.DefaultHandlers
	_ **gotalk.Limits    = &gotalk.DefaultLimits
	_ **gotalk.Limits    = &gotalk.NoLimits
	_ *gotalk.LoggerFunc = &gotalk.ErrorLogger
	_ *gotalk.LoggerFunc = &gotalk.HandlerErrorLogger
)

// Functions of the package.
var (
	_ func(string, interface{})                                                       = gotalk.Handle
	_ func(string, gotalk.BufferReqHandler)                                           = gotalk.HandleBufferRequest
	_ func(string, gotalk.StreamReqHandler)                                           = gotalk.HandleStreamRequest
	_ func(string, interface{})                                                       = gotalk.HandleNotification
	_ func(string, gotalk.BufferNoteHandler)                                          = gotalk.HandleBufferNotification
	_ func() *gotalk.Handlers                                                         = gotalk.NewHandlers
	_ func(*gotalk.Handlers) *gotalk.Sock                                             = gotalk.NewSock
	_ func(*gotalk.Handlers, *gotalk.Limits) (*gotalk.Sock, *gotalk.Sock, error)      = gotalk.Pipe
	_ func(string, string) (*gotalk.Sock, error)                                      = gotalk.Connect
	_ func(string, string, *tls.Config) (*gotalk.Sock, error)                         = gotalk.ConnectTLS
	_ func(*gotalk.Handlers, *gotalk.Limits, net.Listener) *gotalk.Server             = gotalk.NewServer
	_ func(string, string) (*gotalk.Server, error)                                    = gotalk.Listen
	_ func(string, string, string, string) (*gotalk.Server, error)                    = gotalk.ListenTLS
	_ func(string, string, *tls.Config) (*gotalk.Server, error)                       = gotalk.ListenTLSCustom
	_ func(string, string, gotalk.SockHandler) error                                  = gotalk.Serve
	_ func(uint32, uint32) *gotalk.Limits                                             = gotalk.NewLimits
	_ func(string, []byte) *gotalk.Request                                            = gotalk.NewRequest
	_ func() *gotalk.WebSocketServer                                                  = gotalk.NewWebSocketServer
	_ func() *gotalk.WebSocketServer                                                  = gotalk.WebSocketHandler
	_ func() *x509.CertPool                                                           = gotalk.TLSCertPool
	_ func(string) error                                                              = gotalk.TLSAddRootCerts
	_ func(*gotalk.Sock, string, ...interface{})                                      = gotalk.DefaultLoggerFunc
	_ func(io.Writer) (int, error)                                                    = gotalk.WriteVersion
	_ func(io.Reader) (uint8, error)                                                  = gotalk.ReadVersion
	_ func(uint16, []byte) []byte                                                     = gotalk.MakeHeartbeatMsg
	_ func(gotalk.MsgType, string, string, uint32, uint32) []byte                     = gotalk.MakeMsg
	_ func(io.Reader, []byte) (gotalk.MsgType, string, string, uint32, uint32, error) = gotalk.ReadMsg
	_ func(uint32) []byte                                                             = gotalk.FormatRequestID
)

// Types, by what converts to them.
var (
	_ func(*gotalk.Sock, string, []byte) ([]byte, error)            = gotalk.BufferReqHandler(nil)
	_ func(*gotalk.Sock, string, []byte)                            = gotalk.BufferNoteHandler(nil)
	_ func(*gotalk.Sock, string, chan []byte, io.WriteCloser) error = gotalk.StreamReqHandler(nil)
	_ func(*gotalk.Sock)                                            = gotalk.SockHandler(nil)
	_ func(*gotalk.Sock, string, ...interface{})                    = gotalk.LoggerFunc(nil)
	_ byte                                                          = byte(gotalk.MsgType(0))
	_ *websocket.Conn                                               = (*gotalk.WebSocketConnection)(nil) // the same type under another name
	_ error                                                         = (*gotalk.Response)(nil)
	_ http.Handler                                                  = (*gotalk.WebSocketServer)(nil)
	_ fmt.Stringer                                                  = (*gotalk.Sock)(nil)
)

// Structs, made the way programs make them.
var (
	_ = gotalk.Handlers{}
	_ = gotalk.Limits{ReadTimeout: time.Second, BufferRequests: 1, StreamRequests: 1, BufferMinWait: 1, BufferMaxWait: 1, StreamMinWait: 1, StreamMaxWait: 1}
	_ = gotalk.Request{MsgType: gotalk.MsgTypeSingleReq, Op: "", Data: nil}
	_ = gotalk.Request{gotalk.MsgTypeSingleReq, "", nil}
	_ = gotalk.Response{MsgType: gotalk.MsgTypeSingleRes, Data: nil, Wait: 0}
	_ = gotalk.Response{gotalk.MsgTypeSingleRes, nil, 0}
	_ = gotalk.StreamRequest{}
	_ = gotalk.Server{Handlers: nil, Limits: nil, AcceptHandler: nil, HeartbeatInterval: 0, OnHeartbeat: func(int, time.Time) {}, Listener: nil}
)

func apiOfSock(s *gotalk.Sock) {
	s.Handlers = (*gotalk.Handlers)(nil)
	s.UserData = interface{}(nil)
	s.StreamReqLimit = int(0)
	s.CloseHandler = func(s *gotalk.Sock, code int) {}
	s.AutoRetryRequests = bool(false)
	s.HeartbeatInterval = time.Duration(0)
	s.OnHeartbeat = func(load int, t time.Time) {}
	var (
		_ func(io.ReadWriteCloser)                                   = s.Adopt
		_ func(string, string, *gotalk.Limits) error                 = s.Connect
		_ func(string, string, *gotalk.Limits, *tls.Config) error    = s.ConnectTLS
		_ func(io.ReadWriteCloser, *gotalk.Limits) error             = s.ConnectReader
		_ func() io.ReadWriteCloser                                  = s.Conn
		_ func() string                                              = s.String
		_ func() string                                              = s.Addr
		_ func(*gotalk.Request, chan gotalk.Response) error          = s.SendRequest
		_ func(string, []byte) ([]byte, error)                       = s.BufferRequest
		_ func(string, interface{}, interface{}) error               = s.Request
		_ func(string) (*gotalk.StreamRequest, chan gotalk.Response) = s.StreamRequest
		_ func(string, []byte) error                                 = s.BufferNotify
		_ func(string, interface{}) error                            = s.Notify
		_ func() error                                               = s.Handshake
		_ func(float32, []byte) error                                = s.SendHeartbeat
		_ func(*gotalk.Limits) error                                 = s.Read
		_ func(int32) error                                          = s.CloseError
		_ func() bool                                                = s.IsClosed
		_ func() error                                               = s.Close
		_ func(*sync.WaitGroup, time.Duration) error                 = s.Shutdown
	)
}

func apiOfHandlers(h *gotalk.Handlers) {
	var (
		_ func(string, interface{})              = h.Handle
		_ func(string, gotalk.BufferReqHandler)  = h.HandleBufferRequest
		_ func(string, gotalk.StreamReqHandler)  = h.HandleStreamRequest
		_ func(string, interface{})              = h.HandleNotification
		_ func(string, gotalk.BufferNoteHandler) = h.HandleBufferNotification
		_ func(string) gotalk.BufferReqHandler   = h.FindBufferRequestHandler
		_ func(string) gotalk.StreamReqHandler   = h.FindStreamRequestHandler
		_ func(string) gotalk.BufferNoteHandler  = h.FindNotificationHandler
		_ func() *gotalk.Handlers                = h.NewSubHandlers
	)
}

func apiOfOthers(s *gotalk.Server, w *gotalk.WebSocketServer, ws *gotalk.WebSocket, sr *gotalk.StreamRequest, r *gotalk.Response) {
	var (
		_ func() error       = s.Accept
		_ func() string      = s.Addr
		_ func() error       = s.Close
		_ func()             = s.EnableUnixSocketGC
		_ func([]byte) error = sr.Write
		_ func() error       = sr.End
		_ func() string      = r.Error
		_ func() bool        = r.IsError
		_ func() bool        = r.IsRetry
		_ func() bool        = r.IsStreaming
	)
	s.Handle("op of the embedded Handlers", func() error { return nil })
	s.ReadTimeout = time.Second // of the embedded *Limits
	w.Handle("op of the embedded Handlers", func() error { return nil })
	w.BufferRequests = 1
	w.Handlers, w.Limits = gotalk.DefaultHandlers, gotalk.DefaultLimits
	w.OnConnect = func(s *gotalk.WebSocket) {}
	w.HeartbeatInterval = time.Second
	w.OnHeartbeat = func(int, time.Time) {}
	w.OnAccept = gotalk.SockHandler(nil)
	var _ func(http.ResponseWriter, *http.Request) = w.ServeHTTP
	ws.CloseHandler = func(s *gotalk.WebSocket, code int) {}
	ws.Sock.CloseHandler = func(s *gotalk.Sock, code int) {}
	var _ *gotalk.Sock = &ws.Sock
	var (
		_ func() *gotalk.WebSocketConnection = ws.Conn // not that of Sock
		_ func() *http.Request               = ws.Request
		_ func() context.Context             = ws.Context
	)
	// Request is the HTTP request here, so requests to the peer are made through the Sock.
	_ = ws.Sock.Request("op", 1, nil)
	_ = ws.Notify("op", 1)
	_, _ = ws.BufferRequest("op", nil)
}

// Never called: compiling them is all that matters.
var _ = []any{apiOfSock, apiOfHandlers, apiOfOthers}
