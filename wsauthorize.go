package gotalk

import (
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// enter counts the connection of a request. If there are too many it answers the request, and returns false.
func (s *WebSocketServer) enter(w http.ResponseWriter, r *http.Request) (from string, ok bool) {
	most, mostPerAddr, clientAddr := s.admission()
	if clientAddr == nil {
		from, _ = networkOfText(r.RemoteAddr)
	} else {
		from = clientAddr(r)
		if network, ok := networkOfText(from); ok {
			from = network
		}
	}
	if why := s.socks.enter(from, most, mostPerAddr); why != nil {
		http.Error(w, "gotalk: "+why.Message, statusOf(why.Code))
		return from, false
	}
	return from, true
}

// authorize asks the program whether the connection of a request may be a WebSocket.
func (s *WebSocketServer) authorize(r *http.Request) (user any, why *Error) {
	f := s.authorizer()
	if f == nil {
		return nil, nil
	}
	user, err := f(r)
	if err != nil {
		return nil, toldOf(nil, err)
	}
	return user, nil
}

// statusOf returns the HTTP status that says what a code of a refusal does.
func statusOf(code Code) int {
	switch code {
	case CodeUnauthenticated:
		return http.StatusUnauthorized
	case CodeResourceExhausted:
		return http.StatusTooManyRequests
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusForbidden
}

const (
	closeCodeBase   = 4000 // close codes from here on mean what the program likes
	maxCloseReason  = 125 - 2
	maxCloseMessage = 4 << 10 // what is read of a peer that is being refused
)

// deny answers a request that Authorize does not like.
func deny(w http.ResponseWriter, r *http.Request, why *Error) {
	status := statusOf(why.Code)
	if r.Header.Get("Origin") == "" || !websocket.IsWebSocketUpgrade(r) {
		http.Error(w, "gotalk: "+why.Message, status)
		return
	}
	up := websocket.Upgrader{
		HandshakeTimeout: refusingTime,
		ReadBufferSize:   256,
		WriteBufferSize:  256,
		CheckOrigin:      func(*http.Request) bool { return true },
	}
	ws, err := up.Upgrade(hijacker{w}, r, subprotocol(r))
	if err != nil {
		return
	}
	defer ws.Close()
	reason := why.Message
	for len(reason) > maxCloseReason {
		_, n := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-n]
	}
	until := time.Now().Add(refusingTime)
	if ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(closeCodeBase+status, reason), until) != nil {
		return
	}
	// What the peer has sent meanwhile is read: a connection that is closed while input is unread is reset.
	ws.SetCloseHandler(func(int, string) error { return nil })
	ws.SetReadLimit(maxCloseMessage)
	ws.SetReadDeadline(until)
	for err == nil {
		_, _, err = ws.NextReader()
	}
}

// subprotocol returns the header that picks one of the subprotocols that a request offers: a browser gives up if none of
// what it offers is taken.
func subprotocol(r *http.Request) http.Header {
	header := http.Header{}
	if offered := websocket.Subprotocols(r); len(offered) > 0 {
		header.Set("Sec-WebSocket-Protocol", offered[0])
	}
	return header
}
