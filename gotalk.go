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
