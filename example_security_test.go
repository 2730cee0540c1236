package gotalk_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gotalk-go/gotalk"
)

// Only who has a token may connect. What Authorize finds out reaches handlers as UserData.
func ExampleWebSocketServer_authorize() {
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = gotalk.NewHandlers()
	ws.Handlers.Handle("whoami", func(s *gotalk.Sock) (string, error) { return s.UserData.(string), nil })
	users := map[string]string{"Bearer 12345": "Rasmus"}
	ws.Authorize = func(r *http.Request) (any, error) {
		user, ok := users[r.Header.Get("Authorization")]
		if !ok {
			return nil, gotalk.NewError(gotalk.CodeUnauthenticated, "log in first")
		}
		return user, nil
	}
	web := httptest.NewServer(ws)
	defer web.Close()
	url := strings.Replace(web.URL, "http", "ws", 1)

	_, err := gotalk.ConnectWebSocket(context.Background(), url, nil)
	fmt.Println(strings.Contains(err.Error(), `401 Unauthorized, "gotalk: log in first"`))
	s, err := gotalk.ConnectWebSocket(context.Background(), url,
		&gotalk.WebSocketOptions{Header: http.Header{"Authorization": {"Bearer 12345"}}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var name string
	fmt.Println(s.Request("whoami", nil, &name), name)
	// Output:
	// true
	// <nil> Rasmus
}

// Which pages may connect: those of the server's own host, and those that are listed.
func ExampleWebSocketServer_origins() {
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = gotalk.NewHandlers()
	ws.AllowedOrigins = []string{"https://example.com", "https://*.example.org"}
	web := httptest.NewServer(ws)
	defer web.Close()

	for _, origin := range []string{
		web.URL, "https://example.com", "http://example.com", "https://example.com:8443",
		"https://app.example.org", "https://example.org", "null", "",
	} {
		opts := &gotalk.WebSocketOptions{Header: http.Header{}}
		if origin != "" { // as of programs
			opts.Header.Set("Origin", origin)
		}
		s, err := gotalk.ConnectWebSocket(context.Background(), strings.Replace(web.URL, "http", "ws", 1), opts)
		fmt.Printf("%q: %v\n", strings.Replace(origin, web.URL, "the server's own", 1), err == nil)
		s.Close()
	}
	// Output:
	// "the server's own": true
	// "https://example.com": true
	// "http://example.com": false
	// "https://example.com:8443": false
	// "https://app.example.org": true
	// "https://example.org": false
	// "null": false
	// "": true
}

// A program that decides by itself which pages may connect.
func ExampleWebSocketServer_checkOrigin() {
	ws := gotalk.NewWebSocketServer()
	ws.CheckOrigin = func(r *http.Request) bool {
		origin := r.Header.Get("Origin") // must not be empty: only browsers, no programs that do not pretend to be one
		return origin == "https://example.com" && r.URL.Path == "/gotalk/"
	}
	for _, origin := range []string{"https://example.com", "https://evil.test", ""} {
		r := httptest.NewRequest("GET", "/gotalk/", nil)
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		ws.ServeHTTP(w, r)
		fmt.Println(origin, w.Code == http.StatusForbidden)
	}
	// Output:
	// https://example.com false
	// https://evil.test true
	//  true
}

// Who connects is asked for its address here; for certificates see examples/mutual-tls.
func ExampleServer_authorize() {
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.MaxConnections, server.MaxConnectionsPerAddr = 10000, 50
	server.Authorize = func(s *gotalk.Sock) error {
		if strings.HasPrefix(s.Addr(), "10.") {
			return nil
		}
		return gotalk.NewError(gotalk.CodePermissionDenied, "not from here")
	}
	go server.Accept()

	_, err = gotalk.Connect("tcp", server.Addr())
	fmt.Println(gotalk.CodeOf(err))
	fmt.Println(err)
	// Output:
	// permission_denied
	// abnormal condition: permission_denied: not from here
}
