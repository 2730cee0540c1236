package gotalk_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gotalk-go/gotalk"
)

// A server and a client: any program can be both.
func Example() {
	gotalk.Handle("greet", func(name string) (string, error) {
		return "Hello " + name, nil
	})
	server, err := gotalk.Listen("tcp", "localhost:0") // any free port
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	go server.Accept()

	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var greeting string
	if err := s.Request("greet", "Rasmus", &greeting); err != nil {
		log.Fatal(err)
	}
	fmt.Println(greeting)
	// Output: Hello Rasmus
}

// Parameters and results are whatever encoding/json handles.
func ExampleHandle() {
	type query struct{ Word, Text string }
	gotalk.Handle("count", func(q query) (int, error) {
		if q.Word == "" {
			return 0, errors.New("which word?")
		}
		return strings.Count(q.Text, q.Word), nil
	})

	s, peer, _ := gotalk.Pipe(nil, nil) // both served by what Handle and its like have registered
	defer s.Close()
	defer peer.Close()
	var n int
	err := s.Request("count", query{"na", "banana"}, &n)
	fmt.Println(n, err)
	err = s.Request("count", query{}, &n)
	fmt.Println(err)
	// Output:
	// 2 <nil>
	// which word?
}

// A handler that wants the Sock can call the one back who called it.
func ExampleHandlers_Handle() {
	h := &gotalk.Handlers{}
	h.Handle("introduce me", func(s *gotalk.Sock) (string, error) {
		var name string
		err := s.Request("your name", nil, &name)
		return "this is " + name, err
	})
	h.Handle("your name", func() (string, error) { return "Anna", nil })

	s, peer, _ := gotalk.Pipe(h, nil)
	defer s.Close()
	defer peer.Close()
	var introduction string
	err := s.Request("introduce me", nil, &introduction)
	fmt.Println(introduction, err)
	// Output: this is Anna <nil>
}

func ExampleHandleBufferRequest() {
	gotalk.HandleBufferRequest("reverse", func(_ *gotalk.Sock, _ string, payload []byte) ([]byte, error) {
		result := make([]byte, len(payload))
		for i, c := range payload {
			result[len(payload)-1-i] = c
		}
		return result, nil
	})

	s, peer, _ := gotalk.Pipe(nil, nil)
	defer s.Close()
	defer peer.Close()
	result, err := s.BufferRequest("reverse", []byte("desserts"))
	fmt.Printf("%s %v\n", result, err)
	// Output: stressed <nil>
}

// Streaming requests have to be allowed by Limits.
func ExampleHandleStreamRequest() {
	gotalk.HandleStreamRequest("upper", func(_ *gotalk.Sock, _ string, parts chan []byte, out io.WriteCloser) error {
		for part := range parts { // until the request or the connection ends
			if _, err := io.WriteString(out, strings.ToUpper(string(part))); err != nil {
				return err
			}
		}
		return nil // ends the result
	})

	s, peer, _ := gotalk.Pipe(nil, gotalk.NoLimits)
	defer s.Close()
	defer peer.Close()
	request, results := s.StreamRequest("upper")
	for _, word := range []string{"one", "two"} {
		if err := request.Write([]byte(word)); err != nil {
			log.Fatal(err)
		}
		result := <-results
		fmt.Println(string(result.Data))
	}
	if err := request.End(); err != nil {
		log.Fatal(err)
	}
	for result := range results {
		fmt.Println("end:", result.IsStreaming(), len(result.Data))
	}
	// Output:
	// ONE
	// TWO
	// end: true 0
}

func ExampleHandleNotification() {
	done := make(chan bool)
	gotalk.HandleNotification("joined", func(name string) {
		fmt.Println(name, "is here")
		done <- true
	})

	s, peer, _ := gotalk.Pipe(nil, nil)
	defer s.Close()
	defer peer.Close()
	if err := s.Notify("joined", "Anna"); err != nil {
		log.Fatal(err)
	}
	<-done
	// Output: Anna is here
}

// The handler of the empty name gets what no other is registered for.
func ExampleHandlers_HandleBufferRequest_fallback() {
	h := &gotalk.Handlers{}
	h.HandleBufferRequest("", func(_ *gotalk.Sock, op string, payload []byte) ([]byte, error) {
		return nil, fmt.Errorf("there is no %q here", op)
	})

	s, peer, _ := gotalk.Pipe(h, nil)
	defer s.Close()
	defer peer.Close()
	_, err := s.BufferRequest("lunch", nil)
	fmt.Println(err)
	// Output: there is no "lunch" here
}

// A set of handlers for some connections, with another set behind it for all.
func ExampleHandlers_NewSubHandlers() {
	everybody := &gotalk.Handlers{}
	everybody.Handle("time", func() (string, error) { return "noon", nil })
	admins := everybody.NewSubHandlers()
	admins.Handle("stop", func() (string, error) { return "stopping", nil })

	for _, h := range []*gotalk.Handlers{everybody, admins} {
		s, peer, _ := gotalk.Pipe(h, nil)
		for _, op := range []string{"time", "stop"} {
			var answer string
			err := s.Request(op, nil, &answer)
			fmt.Printf("%s: %q %v\n", op, answer, err)
		}
		s.Close()
		peer.Close()
	}
	// Output:
	// time: "noon" <nil>
	// stop: "" unknown operation "stop"
	// time: "noon" <nil>
	// stop: "stopping" <nil>
}

// What the handler at the other end failed with is a *Response; all else is about the connection.
func ExampleSock_Request() {
	h := &gotalk.Handlers{}
	h.Handle("divide", func(p [2]int) (int, error) {
		if p[1] == 0 {
			return 0, errors.New("division by zero")
		}
		return p[0] / p[1], nil
	})

	s, peer, _ := gotalk.Pipe(h, nil)
	defer peer.Close()
	var n int
	fmt.Println(s.Request("divide", [2]int{7, 2}, &n), n)

	err := s.Request("divide", [2]int{7, 0}, &n)
	var failure *gotalk.Response
	fmt.Println(err, errors.As(err, &failure))

	s.Close()
	err = s.Request("divide", [2]int{7, 2}, &n)
	fmt.Println(err, errors.Is(err, gotalk.ErrSockClosed))
	// Output:
	// <nil> 3
	// division by zero true
	// socket closed true
}

// A call ends when its context does. The connection lives on.
func ExampleSock_RequestContext() {
	h := &gotalk.Handlers{}
	h.Handle("sleep", func(s *gotalk.Sock) error {
		<-s.Context().Done() // as long as the connection lasts
		return nil
	})
	h.Handle("ping", func() (string, error) { return "pong", nil })

	s, peer, _ := gotalk.Pipe(h, nil)
	defer s.Close()
	defer peer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	fmt.Println(s.RequestContext(ctx, "sleep", nil, nil))

	var answer string
	fmt.Println(s.Request("ping", nil, &answer), answer)
	// Output:
	// context deadline exceeded
	// <nil> pong
}

func ExampleSock_BufferRequest() {
	h := &gotalk.Handlers{}
	h.HandleBufferRequest("echo", func(_ *gotalk.Sock, _ string, payload []byte) ([]byte, error) { return payload, nil })

	s, peer, _ := gotalk.Pipe(h, nil)
	defer s.Close()
	defer peer.Close()
	result, err := s.BufferRequest("echo", []byte{0, 1, 0xff})
	fmt.Println(result, err)
	// Output: [0 1 255] <nil>
}

// Many requests whose results come through one channel, without a goroutine for each.
func ExampleSock_SendRequest() {
	h := &gotalk.Handlers{}
	h.HandleBufferRequest("double", func(_ *gotalk.Sock, _ string, payload []byte) ([]byte, error) {
		return append(payload, payload...), nil
	})

	s, peer, _ := gotalk.Pipe(h, nil)
	defer s.Close()
	defer peer.Close()
	results := make(chan gotalk.Response)
	for _, word := range []string{"yo", "cous", "bye"} {
		if err := s.SendRequest(gotalk.NewRequest("double", []byte(word)), results); err != nil {
			log.Fatal(err)
		}
	}
	for range 3 {
		result := <-results
		fmt.Println(string(result.Data), result.IsError())
	}
	// Unordered output:
	// yoyo false
	// couscous false
	// byebye false
}

// A result of many parts for a request of one.
func ExampleSock_StreamRequest() {
	h := &gotalk.Handlers{}
	h.HandleStreamRequest("count", func(_ *gotalk.Sock, _ string, parts chan []byte, out io.WriteCloser) error {
		for i := range len(<-parts) {
			fmt.Fprint(out, i+1)
		}
		return nil
	})

	s, peer, _ := gotalk.Pipe(h, gotalk.NewLimits(gotalk.Unlimited, 1))
	defer s.Close()
	defer peer.Close()
	request, results := s.StreamRequest("count")
	if err := request.Write([]byte("...")); err != nil {
		log.Fatal(err)
	}
	if err := request.End(); err != nil {
		log.Fatal(err)
	}
	for result := range results { // closed after the last part, or an error
		switch {
		case result.IsError():
			log.Fatal(result.Error())
		case len(result.Data) > 0: // the last part is empty
			fmt.Println(string(result.Data))
		}
	}
	// Output:
	// 1
	// 2
	// 3
}

// Notifications are handled in the order in which they were sent.
func ExampleSock_Notify() {
	h := &gotalk.Handlers{}
	done := make(chan bool)
	h.HandleNotification("progress", func(_ *gotalk.Sock, name string, percent int) {
		fmt.Println(name, percent)
		if percent == 100 {
			close(done)
		}
	})

	s, peer, _ := gotalk.Pipe(h, nil)
	defer s.Close()
	defer peer.Close()
	for _, percent := range []int{10, 50, 100} {
		if err := s.Notify("progress", percent); err != nil {
			log.Fatal(err)
		}
	}
	<-done
	// Output:
	// progress 10
	// progress 50
	// progress 100
}

// One notification for all who are connected.
func ExampleWebSocketServer_Broadcast() {
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = &gotalk.Handlers{}
	connected := make(chan bool)
	ws.Handlers.HandleNotification("here", func() { connected <- true })
	web := httptest.NewServer(ws)
	defer web.Close()

	heard := make(chan string)
	h := &gotalk.Handlers{}
	h.HandleNotification("news", func(_ *gotalk.Sock, _ string, text string) { heard <- text })
	for range 3 {
		s := gotalk.NewSock(h)
		if err := s.ConnectWebSocket(context.Background(), strings.Replace(web.URL, "http", "ws", 1), nil, nil); err != nil {
			log.Fatal(err)
		}
		defer s.Close()
		if err := s.Notify("here", nil); err != nil {
			log.Fatal(err)
		}
		<-connected
	}

	p, err := gotalk.PrepareNotification("news", "lunch is ready")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ws.Broadcast(p))
	for range 3 {
		fmt.Println(<-heard)
	}
	// Output:
	// 3 []
	// lunch is ready
	// lunch is ready
	// lunch is ready
}

// For tests of handlers: no network, no ports.
func ExamplePipe() {
	h := &gotalk.Handlers{}
	h.Handle("add", func(p struct{ A, B int }) (int, error) { return p.A + p.B, nil })

	left, right, err := gotalk.Pipe(h, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer left.Close()
	defer right.Close()
	var sum int
	err = left.Request("add", struct{ A, B int }{20, 22}, &sum)
	fmt.Println(sum, err)
	// Output: 42 <nil>
}

// Serve is all that a simple server needs. It returns only if it cannot listen or accept.
func ExampleServe() {
	gotalk.Handle("echo", func(message string) (string, error) { return message, nil })
	log.Fatal(gotalk.Serve("tcp", "localhost:1234", func(s *gotalk.Sock) {
		log.Println("connection from", s.Addr())
	}))
}

// Handlers, limits and a callback of a server's own.
func ExampleListen() {
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	server.Handlers = &gotalk.Handlers{}
	server.Handlers.Handle("who am I", func(s *gotalk.Sock) (string, error) { return s.UserData.(string), nil })
	server.Limits = gotalk.NewLimits(100, 0)
	server.AcceptHandler = func(s *gotalk.Sock) { s.UserData = "guest" }
	accepted := make(chan error)
	go func() { accepted <- server.Accept() }()

	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var who string
	fmt.Println(s.Request("who am I", nil, &who), who)

	server.Close()
	fmt.Println(errors.Is(<-accepted, gotalk.ErrServerClosed))
	// Output:
	// <nil> guest
	// true
}

// A client with handlers of its own, which the server may call.
func ExampleSock_Connect() {
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.Handlers = &gotalk.Handlers{}
	server.Handlers.Handle("hello", func(s *gotalk.Sock) (string, error) {
		var name string
		err := s.Request("name", nil, &name)
		return "hello " + name, err
	})
	go server.Accept()

	h := &gotalk.Handlers{}
	h.Handle("name", func() (string, error) { return "Bo", nil })
	s := gotalk.NewSock(h)
	if err := s.Connect("tcp", server.Addr(), nil); err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var answer string
	fmt.Println(s.Request("hello", nil, &answer), answer)
	// Output: <nil> hello Bo
}

func ExampleConnectContext() {
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	go server.Accept()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := gotalk.ConnectContext(ctx, "tcp", server.Addr())
	fmt.Println(err, s.IsClosed())
	s.Close()
	fmt.Println(s.IsClosed())
	// Output:
	// <nil> false
	// true
}

func ExampleConnectTLS() {
	web := httptest.NewTLSServer(nil) // has a certificate for tests
	defer web.Close()
	server, err := gotalk.ListenTLSCustom("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.Handlers = &gotalk.Handlers{}
	server.Handlers.Handle("echo", func(message string) (string, error) { return message, nil })
	go server.Accept()

	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	s, err := gotalk.ConnectTLS("tcp", server.Addr(), &tls.Config{RootCAs: trusted})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var answer string
	fmt.Println(s.Request("echo", "secret", &answer), answer)
	// Output: <nil> secret
}

// At most one request at a time, of at most 100 bytes, and streams not at all.
func ExampleNewLimits() {
	h := &gotalk.Handlers{}
	h.HandleBufferRequest("size", func(_ *gotalk.Sock, _ string, payload []byte) ([]byte, error) {
		return fmt.Append(nil, len(payload)), nil
	})
	h.HandleStreamRequest("sizes", func(_ *gotalk.Sock, _ string, parts chan []byte, out io.WriteCloser) error {
		for part := range parts {
			fmt.Fprint(out, len(part))
		}
		return nil
	})
	limits := gotalk.NewLimits(1, 0)
	limits.MaxPayload = 100

	s, peer, _ := gotalk.Pipe(h, limits)
	defer s.Close()
	defer peer.Close()
	result, err := s.BufferRequest("size", make([]byte, 100))
	fmt.Println(string(result), err)
	_, err = s.BufferRequest("size", make([]byte, 101))
	fmt.Println(err != nil)
	request, results := s.StreamRequest("sizes")
	if err := request.Write(nil); err != nil {
		log.Fatal(err)
	}
	refusal := <-results
	fmt.Println(refusal.Error())
	// Output:
	// 100 <nil>
	// true
	// stream requests not supported
}

// Shutdown lets requests that are under way finish.
func ExampleServer_Shutdown() {
	server, err := gotalk.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	begun, finish := make(chan bool), make(chan bool)
	server.Handlers = &gotalk.Handlers{}
	server.Handlers.Handle("work", func() (string, error) {
		begun <- true
		<-finish
		return "done", nil
	})
	go server.Accept()

	s, err := gotalk.Connect("tcp", server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	answered := make(chan bool)
	go func() {
		var result string
		err := s.Request("work", nil, &result)
		fmt.Println(result, err)
		answered <- true
	}()
	<-begun
	time.AfterFunc(10*time.Millisecond, func() { finish <- true })

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // for those who would never finish
	defer cancel()
	err = server.Shutdown(ctx)
	<-answered
	fmt.Println("shut down:", err)
	// Output:
	// done <nil>
	// shut down: <nil>
}

// A WebSocketServer serves browsers, and at gotalk.js below its path the script that they need.
func ExampleWebSocketServer() {
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = &gotalk.Handlers{}
	ws.Handlers.Handle("echo", func(message string) (string, error) { return message, nil })
	ws.AllowedOrigins = []string{"https://example.com"} // beside the server's own host
	ws.OnConnect = func(s *gotalk.WebSocket) {
		fmt.Println("connection to", s.Request().URL.Path)
	}
	web := httptest.NewServer(ws) // or: http.Handle("/gotalk/", ws)
	defer web.Close()

	url := strings.Replace(web.URL, "http", "ws", 1) + "/gotalk/"
	s, err := gotalk.ConnectWebSocket(context.Background(), url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var answer string
	fmt.Println(s.Request("echo", "hello", &answer), answer)
	// Output:
	// connection to /gotalk/
	// <nil> hello
}

// A Go program can be a WebSocket client too.
func ExampleConnectWebSocket() {
	ws := gotalk.NewWebSocketServer()
	ws.Handlers = &gotalk.Handlers{}
	ws.Handlers.Handle("token", func(s *gotalk.Sock) (string, error) { return s.UserData.(string), nil })
	ws.OnConnect = func(s *gotalk.WebSocket) { s.UserData = s.Request().Header.Get("Authorization") }
	web := httptest.NewServer(ws)
	defer web.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := gotalk.ConnectWebSocket(ctx, strings.Replace(web.URL, "http", "ws", 1), &gotalk.WebSocketOptions{
		Header: map[string][]string{"Authorization": {"Bearer 123"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var token string
	fmt.Println(s.Request("token", nil, &token), token)
	// Output: <nil> Bearer 123
}
