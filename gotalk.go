// Package gotalk lets programs call each other. Any peer exposes operations and calls the other's, over one connection,
// many calls at once, with notifications and streams, in a wire format that a person can read:
//
//	r0001004echo00000019{"message":"Hello World"}
//	R000100000019{"message":"Hello World"}
//
// # Serving and calling
//
// A program registers functions for operations, and accepts connections:
//
//	gotalk.Handle("greet", func(name string) (string, error) {
//		return "Hello " + name, nil
//	})
//	err := gotalk.Serve("tcp", "localhost:1234", nil)
//
// Another connects and calls:
//
//	s, err := gotalk.Connect("tcp", "localhost:1234")
//	var greeting string
//	err = s.Request("greet", "Rasmus", &greeting)
//
// There is no client and no server once they are connected: a [Sock] is one end of a conversation, and both ends may
// call what the other has handlers for. A handler gets the Sock that the request came from, so it can call back.
//
// Payloads are JSON with [Sock.Request], [Sock.Notify] and [Handle], and any bytes with [Sock.BufferRequest],
// [Sock.BufferNotify] and [HandleBufferRequest]; on the wire there is no difference. A notification is a request that
// nobody answers. A streaming request ([Sock.StreamRequest], [HandleStreamRequest]) has any number of parts in both
// directions.
//
// Connections may be TCP, Unix sockets or whatever package net knows, TLS ([ConnectTLS], [ListenTLS]), memory ([Pipe]),
// any io.ReadWriteCloser ([Sock.ConnectReader], [Sock.Adopt]), or a WebSocket: a [WebSocketServer] is an http.Handler
// that serves browsers, and [ConnectWebSocket] is for Go programs.
//
// # Concurrency
//
// All methods of a Sock, a Server and Handlers may be called concurrently, from handlers too. Requests are handled
// concurrently, each on a goroutine, so answers may overtake each other. A few handlers run at once to begin with; when
// they are slow more are started within milliseconds, so that a slow one holds up no other for long. Each streaming
// request has a goroutine as well. Notifications of a connection are handled one after the other in the order in which
// they came; a notification handler that takes long holds up later notifications and nothing else. A panic in any
// handler is logged and answered with "internal error"; its value does not leave the process.
//
// # Ownership of slices
//
// What a call is given is the caller's again when the call returns. What a handler or a caller receives is its own to keep
// and to change. What a handler returns must not be changed any more.
//
// # Errors
//
// An error that a handler returns reaches the caller as text, in a [*Response] with IsError. A call ends with
// [ErrSockClosed] when the connection does, or with [ErrTimeout], [ErrInvalidMsg], [ErrUnsupported] or [ErrAbnormal] if
// it ended for such a reason: test with errors.Is. A call whose context ends returns the context's error.
//
// # Limits and back-pressure
//
// [Limits] says what a peer is granted: how many requests at once, how large a payload, how long it may be silent. What
// is not limited is bounded all the same: when too many requests wait for their handlers, or too many bytes wait to be
// sent, the connection is not read on until there is room, which the peer's own writes notice in time. Nothing that a peer
// claims takes memory before it is sent.
//
// # Closing
//
// [Sock.Close] ends a connection at once, [Sock.Shutdown] and [Server.Shutdown] when what is under way is answered.
// [Sock.CloseHandler] is called when a connection has ended, and [Sock.Context] ends with it. A peer that is silent is
// dropped after [Limits].ReadTimeout; heartbeats, which connecting sides send every 20 s and accepting sides answer, keep
// an idle connection alive. A Sock may be connected again after its connection ended.
//
// # The wire
//
// PROTOCOL.md in the source tree describes the protocol, so that peers can be written in other languages. Those of
// gotalk 1.x for Go and JavaScript understand it as they are.
package gotalk

import "log"

// Version of this library.
const Version = "1.4.0"

// DefaultHandlers are those that the functions of this package register, and that Connect, Listen, Serve and
// NewWebSocketServer use.
var DefaultHandlers = NewHandlers()

// Handle registers a function for requests with JSON payloads in DefaultHandlers; see Handlers.Handle.
func Handle(op string, fn interface{}) { DefaultHandlers.Handle(op, fn) }

// HandleBufferRequest registers a function for requests with any payload in DefaultHandlers.
func HandleBufferRequest(op string, fn BufferReqHandler) { DefaultHandlers.HandleBufferRequest(op, fn) }

// HandleStreamRequest registers a function for streaming requests in DefaultHandlers.
func HandleStreamRequest(op string, fn StreamReqHandler) { DefaultHandlers.HandleStreamRequest(op, fn) }

// HandleNotification registers a function for notifications with JSON payloads in DefaultHandlers; see
// Handlers.HandleNotification.
func HandleNotification(name string, fn interface{}) { DefaultHandlers.HandleNotification(name, fn) }

// HandleBufferNotification registers a function for notifications with any payload in DefaultHandlers.
func HandleBufferNotification(name string, fn BufferNoteHandler) {
	DefaultHandlers.HandleBufferNotification(name, fn)
}

// LoggerFunc takes a message about a Sock; format and args are as for fmt.Printf.
type LoggerFunc func(s *Sock, format string, args ...interface{})

var (
	// ErrorLogger is told what nobody else is: a reply that could not be written, a notification that was dropped, a
	// panic of a callback. nil keeps silent.
	ErrorLogger LoggerFunc = DefaultLoggerFunc

	// HandlerErrorLogger is told the errors and panics of handlers. nil keeps silent.
	HandlerErrorLogger LoggerFunc = DefaultLoggerFunc
)

// DefaultLoggerFunc prints with the standard library's package log.
func DefaultLoggerFunc(s *Sock, format string, args ...interface{}) { log.Printf(format, args...) }

// As with the fields of Sock, programs set these while connections are in use.

//go:norace
func errorLogger() LoggerFunc { return ErrorLogger }

//go:norace
func handlerErrorLogger() LoggerFunc { return HandlerErrorLogger }

// logTo logs; a logger that panics must not take a handler's reply with it.
func logTo(f LoggerFunc, s *Sock, format string, args ...interface{}) {
	if f == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			log.Printf("gotalk: panic in logger: %v", v)
		}
	}()
	f(s, format, args...)
}
