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
// nobody answers.
//
// An operation that both sides are written in Go for can be declared once, with its types:
//
//	var Greet = gotalk.Op[GreetIn, GreetOut]{Name: "greet"}
//
//	Greet.Handle(nil, func(ctx context.Context, s *gotalk.Sock, in GreetIn) (GreetOut, error) { … })
//	out, err := Greet.Call(ctx, s, GreetIn{Name: "Rasmus"})
//
// [HandleFunc] and [Call] are the same without the declaration, [Note] is for notifications and [StreamOp] for streams.
//
// Connections may be TCP, Unix sockets or whatever package net knows, TLS ([ConnectTLS], [ListenTLS]), memory ([Pipe]),
// any io.ReadWriteCloser ([Sock.ConnectReader], [Sock.Adopt]), or a WebSocket: a [WebSocketServer] is an http.Handler
// that serves browsers, and [ConnectWebSocket] is for Go programs.
//
// # Speed
//
// Calls on one connection share writes and reads, so many at once cost a fraction of one alone. A handler that has been
// quick so far runs on the goroutine that reads from its connection; when it takes longer than usual another goroutine
// reads on, so that it never holds up others for long. Large payloads leave in parts, between which small messages pass.
// [Sock.BufferRequestInto] and [HandleBufferRequestLent] are for those who want to use the memory of large payloads again.
// docs/performance.md in the repository has figures, and the command that prints them.
//
// # Many peers
//
// A notification for many is prepared once, by [PrepareNotification], [PrepareBufferNotification] or [Note.Prepare].
// [WebSocketServer.Broadcast] and [Server.Broadcast] send it to all who are connected, [Sock.NotifyPrepared] to one after the
// other of those that a program chooses. Neither waits for a peer: one that does not read misses what [Limits].MaxUnsentBytes
// has no room for, and the sender is told which. What is prepared lies in memory once, however many have still to get it.
//
// An idle connection holds no buffers and has one goroutine with a small stack; `go test -run '^$' -bench Idle .` says what
// it takes. ServeHTTP of a [WebSocketServer] returns when the conversation begins, so that nothing of net/http is kept for it.
//
// # Contexts
//
// Every call has a form that takes a context, such as [Sock.RequestContext], and every shape of handler may have one as
// its first parameter. When the caller's context ends the call returns at once, and the handler's context ends too. The
// caller's deadline reaches the handler, so that calls that it makes in turn have what is left of it; [WithMeta] sends
// texts along, which [MetaFrom] finds. A handler's context also ends when its connection does. A peer of gotalk 1.x is
// told none of this: then only the caller's side ends.
//
// # Streams
//
// [Sock.OpenStream] calls an operation registered by [HandleStream]. A [Stream] has any number of parts in both directions:
// Send and Recv, io.Reader and io.Writer, or a range loop. A peer that does not receive holds up the sender's Send, within
// a window of 256 KiB for each direction of each stream, three times that while it keeps up, and nothing else.
// [Sock.StreamRequest] and [HandleStreamRequest] are the API of gotalk 1.x for the same thing.
//
// # Interceptors
//
// [Handlers.Use] puts functions around all that is served, [Sock.Use] around all that is called: for logs, metrics,
// deadlines, limits and whatever else concerns every call. The modules metrics and tracing beside this package have some for
// Prometheus and OpenTelemetry.
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
// An error that a handler returns reaches the caller with its message, and with its code if it is an [*Error]: [NewError]
// makes one, [CodeOf] says which it is. It is in a [*Response], for which IsError holds. A call ends with [ErrSockClosed]
// when the connection does, or with [ErrTimeout], [ErrInvalidMsg], [ErrUnsupported] or [ErrAbnormal] if it ended for such a
// reason: test with errors.Is. A call whose context ends returns the context's error. [RetryAfter] lets a handler say that
// the call shall be made again later, which callers do by themselves.
//
// # Limits and back-pressure
//
// [Limits] says what a peer is granted: how many requests at once, how large a payload, how long it may be silent. What
// is not limited is bounded all the same: when too many requests wait for their handlers, or too many bytes wait to be
// sent, the connection is not read on until there is room, which the peer's own writes notice in time. Nothing that a peer
// claims takes memory before it is sent.
//
// # Large payloads
//
// A request or result that is larger than the peer likes to get in one message, 128 KiB for this package, leaves in parts,
// between which other messages pass. The peer puts it together before a handler or caller sees it. Of those that are made
// at the same time on one connection four of up to 1 MiB are on their way and one that is larger; others wait for their turn.
// Notifications leave whole, and so does all that goes to a peer that does not know of this, such as gotalk 1.x: there other
// messages wait behind a large one.
//
// # Public servers
//
// A server on the internet bounds its connections, in all and per address ([Server].MaxConnections and
// MaxConnectionsPerAddr; [WebSocketServer] has the same), which nothing does unless told to. Connections that do not get
// done with their handshake are counted and end in time ([Limits].HandshakeTimeout, in which TLS has its part). What comes
// before the request of a WebSocket is up to the http.Server: set its ReadHeaderTimeout and MaxHeaderBytes. [LimitRate]
// bounds how many calls each connection may make in the course of time, with [RateLimit].EachSock, and all of them together
// without; [Limits].BytesPerSecond bounds what they send.
//
// [Server].Authorize says who may connect, by address or by [Sock.TLS]'s certificate, and [WebSocketServer].Authorize by the
// HTTP request. Who may call what is for an interceptor to decide, by what Authorize has left in [Sock].UserData: see
// examples/mutual-tls. A peer that is refused is told why, as far as Authorize says so by an [*Error]. Pages of other sites
// cannot open a WebSocket unless [WebSocketServer].AllowedOrigins has them, and anything but a browser can say that it is of
// any site. SECURITY.md has the limits and their defaults on one page, and what they leave open.
//
// # Closing
//
// [Sock.Close] ends a connection at once, [Sock.Shutdown] and [Server.Shutdown] when what is under way is answered.
// [Sock.CloseHandler] is called when a connection has ended, and [Sock.Context] ends with it. A peer that is silent is
// dropped after [Limits].ReadTimeout; heartbeats, which connecting sides send every 20 s and accepting sides answer, keep
// an idle connection alive. A Sock may be connected again after its connection ended; a [Client] does so by itself, moves
// calls on to the next connection, and spreads them over several servers.
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

// HandleBufferRequestContext is HandleBufferRequest for a function that takes a context.
func HandleBufferRequestContext(op string, fn BufferReqContextHandler) {
	DefaultHandlers.HandleBufferRequestContext(op, fn)
}

// HandleBufferRequestLent registers a function for requests whose payload it does not keep in DefaultHandlers; see
// Handlers.HandleBufferRequestLent.
func HandleBufferRequestLent(op string, fn BufferReqHandler) {
	DefaultHandlers.HandleBufferRequestLent(op, fn)
}

// HandleStreamRequest registers a function for streaming requests in DefaultHandlers.
func HandleStreamRequest(op string, fn StreamReqHandler) { DefaultHandlers.HandleStreamRequest(op, fn) }

// HandleStream registers a function for streams in DefaultHandlers; see Handlers.HandleStream.
func HandleStream(op string, fn StreamHandler) { DefaultHandlers.HandleStream(op, fn) }

// HandleNotification registers a function for notifications with JSON payloads in DefaultHandlers; see
// Handlers.HandleNotification.
func HandleNotification(name string, fn interface{}) { DefaultHandlers.HandleNotification(name, fn) }

// HandleBufferNotification registers a function for notifications with any payload in DefaultHandlers.
func HandleBufferNotification(name string, fn BufferNoteHandler) {
	DefaultHandlers.HandleBufferNotification(name, fn)
}

// HandleBufferNotificationContext is HandleBufferNotification for a function that takes a context.
func HandleBufferNotificationContext(name string, fn BufferNoteContextHandler) {
	DefaultHandlers.HandleBufferNotificationContext(name, fn)
}

// LoggerFunc takes a message about a Sock, which is nil where there is none yet; format and args are as for fmt.Printf.
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
