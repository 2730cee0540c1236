package gotalk

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// WebSocketServer is an http.Handler that serves WebSocket connections, from browsers and others, and the browser's
// client library: requests for a path that ends in /gotalk.js get the script. It may be mounted at any path. Fields may
// be changed at any time; new connections use the new values.
type WebSocketServer struct {
	*Handlers // of new connections
	*Limits   // what each of them is granted

	// OnConnect is called with each new connection before anything is read from it. It may change the Sock's fields, and
	// deny the connection by closing it.
	OnConnect func(s *WebSocket)

	// HeartbeatInterval and OnHeartbeat are what a new Sock starts with. By default the server sends no heartbeats of its
	// own, but answers those of clients.
	HeartbeatInterval time.Duration
	OnHeartbeat       func(load int, t time.Time)

	// OnAccept is called if OnConnect is nil.
	//
	// Deprecated: Use OnConnect.
	OnAccept SockHandler

	// AllowedOrigins are the web sites whose pages may connect, beside those of the server's own host: "https://example.com"
	// (scheme and host, with the port if it isn't the scheme's own), "https://*.example.com" for all its subdomains,
	// "null" for local files, or "*" for all. A client that sends no Origin is no browser and is always allowed.
	AllowedOrigins []string

	// CheckOrigin decides instead of AllowedOrigins and the server's own host, if it is not nil. A request that it does
	// not like is answered with 403.
	CheckOrigin func(r *http.Request) bool

	// MaxConnections is how many connections there may be at once, and MaxConnectionsPerAddr how many from one address, as
	// ClientAddr has it. One more is answered with 503 or 429. 0 means no limit. Until its request has come a connection is
	// the http.Server's: set ReadHeaderTimeout there, and MaxHeaderBytes, since a WebSocket keeps its request.
	MaxConnections, MaxConnectionsPerAddr int

	// ClientAddr returns the address that MaxConnectionsPerAddr counts a connection for; nil means the request's RemoteAddr.
	// Behind a proxy it is to return what that proxy says in a header, which must not be believed from anybody else. Of an
	// IPv6 address the /64 counts. Any other text counts as it is, a user's name for example; none is not counted.
	ClientAddr func(r *http.Request) string

	// Authorize decides who may connect, if it is not nil, before the connection becomes a WebSocket. user becomes the
	// UserData of the Sock, for OnConnect and handlers. It is called for requests from allowed origins, concurrently.
	//
	// If err is or wraps an *Error the request is answered with its message, and 401 for CodeUnauthenticated, 429 for
	// CodeResourceExhausted, 503 for CodeUnavailable and 403 for all others. Of any other error, which is logged, the peer
	// is only told that it may not connect. Since pages cannot see that answer, one from a browser (it has an Origin) becomes
	// a WebSocket that is closed at once, with the close code 4000 plus that status, and the message as reason.
	Authorize func(r *http.Request) (user any, err error)

	socks sockSet
}

// WebSocketConnection is the WebSocket below a WebSocket's Sock. Reading or writing messages on it breaks the
// conversation.
type WebSocketConnection = websocket.Conn

// WebSocket is the Sock of a connection to a WebSocketServer. Its method Request returns the HTTP request and hides that
// of Sock: use ws.Sock.Request for a JSON request to the peer.
type WebSocket struct {
	Sock

	// CloseHandler is called when the connection has ended; see Sock.CloseHandler, which it takes the place of.
	CloseHandler func(s *WebSocket, code int)

	request *http.Request // complete when it was asked for
	packed  string        // the rest of it
	asked   sync.Once
}

// NewWebSocketServer returns a WebSocketServer with DefaultHandlers and DefaultLimits.
func NewWebSocketServer() *WebSocketServer {
	return &WebSocketServer{Handlers: DefaultHandlers, Limits: DefaultLimits}
}

// WebSocketHandler is NewWebSocketServer under its old name.
//
// Deprecated: Use NewWebSocketServer.
func WebSocketHandler() *WebSocketServer { return NewWebSocketServer() }

// Conn returns the WebSocket connection, also after it was closed.
func (s *WebSocket) Conn() *WebSocketConnection {
	if l := s.link.Load(); l != nil {
		if c, ok := l.conn.(*wsConn); ok {
			return c.gorilla()
		}
	}
	return nil
}

// Request returns the HTTP request that the WebSocket began with. Its context is that of Context.
func (s *WebSocket) Request() *http.Request {
	s.asked.Do(func() {
		if s.request != nil {
			s.request = s.request.WithContext(s.Context()) // net/http has ended its own
			unpackRequest(s.request, s.packed)
			s.packed = ""
		}
	})
	return s.request
}

// Context returns a context with the values of the HTTP request's, which ends when the connection does.
func (s *WebSocket) Context() context.Context { return s.Sock.Context() }

//go:norace
func (s *WebSocket) ownCloseHandler() func(*WebSocket, int) { return s.CloseHandler }

// Fields may be changed while connections come in; see Sock.handlers.
//
//go:norace
func (s *WebSocketServer) settings() (*Handlers, *Limits, time.Duration, func(int, time.Time)) {
	return s.Handlers, s.Limits, s.HeartbeatInterval, s.OnHeartbeat
}

//go:norace
func (s *WebSocketServer) onConnect() (func(*WebSocket), SockHandler) { return s.OnConnect, s.OnAccept }

//go:norace
func (s *WebSocketServer) originPolicy() (func(*http.Request) bool, []string) {
	return s.CheckOrigin, s.AllowedOrigins
}

//go:norace
func (s *WebSocketServer) admission() (most, mostPerAddr int, clientAddr func(*http.Request) string) {
	return s.MaxConnections, s.MaxConnectionsPerAddr, s.ClientAddr
}

//go:norace
func (s *WebSocketServer) authorizer() func(*http.Request) (any, error) { return s.Authorize }

// ServeHTTP makes the connection a WebSocket and returns, or serves the script. The connection lives on by itself, so that
// it does not keep what net/http has for a request: handlers around this one see ServeHTTP return, and the request's
// context end, when the conversation begins. OnConnect and Sock.CloseHandler tell when a connection begins and ends, and
// Shutdown waits for all.
func (s *WebSocketServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if serveScript(w, r) {
		return
	}
	from, ok := s.enter(w, r)
	if !ok {
		return
	}
	sock, l := s.open(w, r, from)
	if l == nil {
		return
	}
	go s.serve(sock, l) // ends when hands are shaken, or in time
}

// serve shakes hands on a connection, and lets it be read.
func (s *WebSocketServer) serve(sock *WebSocket, l *link) {
	defer l.leaveUnlessRead()
	if l.handshake(context.Background()) != nil {
		return
	}
	onConnect, onAccept := s.onConnect()
	if onConnect == nil && onAccept != nil {
		onConnect = func(ws *WebSocket) { onAccept(&ws.Sock) }
	}
	if onConnect != nil && !guard(&sock.Sock, "OnConnect", func() { onConnect(sock) }) {
		return
	}
	_, limits, _, _ := s.settings()
	l.setLimits(limits) // the callback may have set the Sock's Limits
	l.startReading()
}

// Shutdown stops taking connections and requests, waits until the requests under way are answered, and closes the
// connections, as Server.Shutdown does. When ctx ends before, they are closed at once and ctx.Err() is returned. The
// http.Server's own Shutdown does not know of these connections: call both.
func (s *WebSocketServer) Shutdown(ctx context.Context) error { return s.socks.shutdown(ctx) }

// open makes the WebSocket of a request that has entered, and puts it into the set. When it does not the connection has
// left and the request is answered, and it returns nil.
func (s *WebSocketServer) open(w http.ResponseWriter, r *http.Request, from string) (sock *WebSocket, l *link) {
	defer func() {
		if l == nil { // for whatever reason: a callback of the program's may have panicked
			s.socks.leave(from)
		}
	}()
	if !s.originAllowed(r) {
		why := "gotalk: pages of %s may not connect here; see WebSocketServer.AllowedOrigins"
		http.Error(w, fmt.Sprintf(why, r.Header.Get("Origin")), http.StatusForbidden)
		return nil, nil
	}
	user, why := s.authorize(r)
	if why != nil {
		deny(w, r, why)
		return nil, nil
	}
	sock, l = s.upgrade(w, r)
	if l == nil {
		return nil, nil
	}
	sock.UserData = user
	if !s.socks.add(&sock.Sock, from) {
		sock.Close()
		return nil, nil
	}
	return sock, l
}

// upgrade makes the HTTP connection a WebSocket. When it cannot it has answered the request, and returns nil.
func (s *WebSocketServer) upgrade(w http.ResponseWriter, r *http.Request) (*WebSocket, *link) {
	up := websocket.Upgrader{
		HandshakeTimeout: defaultHandshakeTimeout,
		ReadBufferSize:   1, // no frame is read through it, nor written
		WriteBufferPool:  &writeBuffers,
		CheckOrigin:      func(*http.Request) bool { return true },
	}
	ws, err := up.Upgrade(hijacker{w}, r, subprotocol(r))
	if err != nil {
		return nil, nil
	}
	h, limits, every, onHeartbeat := s.settings()
	sock := &WebSocket{Sock: Sock{
		Handlers: h, AutoRetryRequests: true, HeartbeatInterval: every, OnHeartbeat: onHeartbeat, accepted: true,
	}}
	sock.request, sock.packed = packRequest(r)
	sock.Sock.CloseHandler = func(_ *Sock, code int) {
		if f := sock.ownCloseHandler(); f != nil {
			f(sock, code)
		}
	}
	l := newWSLink(&sock.Sock, ws.NetConn(), serverFraming)
	l.conn.(*wsConn).subprotocol = ws.Subprotocol()
	l.ctx = r.Context()
	l.setLimits(limits)
	sock.adopt(l)
	return sock, l
}

// originAllowed tells whether the page that the request comes from may connect.
func (s *WebSocketServer) originAllowed(r *http.Request) bool {
	check, allowed := s.originPolicy()
	if check != nil {
		return check(r)
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, a := range allowed {
		if a == "*" || strings.EqualFold(a, origin) {
			return true
		}
		scheme, domain, wild := strings.Cut(a, "://*.")
		if wild && err == nil && strings.EqualFold(u.Scheme, scheme) && len(u.Host) > len(domain)+1 &&
			strings.EqualFold(u.Host[len(u.Host)-len(domain)-1:], "."+domain) {
			return true
		}
	}
	return false
}

// WebSocketOptions are for ConnectWebSocket. A nil *WebSocketOptions, like one of zero values, is fine.
type WebSocketOptions struct {
	Header    http.Header // of the request that the WebSocket begins with: cookies, authorization, an Origin
	TLSConfig *tls.Config // for wss; nil, or one without RootCAs, trusts what TLSCertPool returns
}

// ConnectWebSocket returns a Sock that is connected to a WebSocketServer, at a URL such as "ws://localhost:1234/gotalk/",
// and served by DefaultHandlers. The Sock is not nil even if the error isn't. It gives up when ctx ends; once connected
// ctx has no part in it.
func ConnectWebSocket(ctx context.Context, url string, opts *WebSocketOptions) (*Sock, error) {
	s := NewSock(DefaultHandlers)
	return s, s.ConnectWebSocket(ctx, url, nil, opts)
}

// ConnectWebSocket connects to a WebSocketServer, and starts reading.
func (s *Sock) ConnectWebSocket(ctx context.Context, url string, limits *Limits, opts *WebSocketOptions) error {
	if opts == nil {
		opts = &WebSocketOptions{}
	}
	l, err := s.dialWebSocket(ctx, url, opts, (&net.Dialer{Timeout: dialTimeout}).DialContext)
	if err != nil {
		return err
	}
	return s.connect(ctx, l, limits)
}

// dialWebSocket opens a WebSocket over a connection that dial makes.
func (s *Sock) dialWebSocket(ctx context.Context, url string, opts *WebSocketOptions,
	dial func(ctx context.Context, network, addr string) (net.Conn, error)) (*link, error) {
	var response *responseConn // above TLS
	d := websocket.Dialer{
		HandshakeTimeout: dialTimeout,
		ReadBufferSize:   256, // for the response
		WriteBufferPool:  &writeBuffers,
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			response = &responseConn{Conn: conn}
			return response, err
		},
		NetDialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err == nil {
				conn, err = secured(ctx, conn, addr, opts.TLSConfig)
			}
			response = &responseConn{Conn: conn}
			return response, err
		},
	}
	_, res, err := d.DialContext(ctx, url, opts.Header)
	if err != nil {
		return nil, webSocketError(url, res, err)
	}
	l := newWSLink(s, response.Conn, clientFraming)
	if b := response.ahead; len(b) > 0 { // the server's first words came together with the response
		l.r.buf, l.r.to = b, l.r.frames.unframe(b)
	}
	return l, nil
}

// webSocketError says why a WebSocket could not be opened, with what the server answered.
func webSocketError(url string, res *http.Response, err error) error {
	if res == nil {
		return dialError("WebSocket", url, err)
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	return fmt.Errorf("gotalk: %s is no WebSocket for us: the server answered %s, %q: %w", url, res.Status,
		strings.TrimSpace(string(body)), err)
}
