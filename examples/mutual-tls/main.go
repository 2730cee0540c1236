// Mutual-tls is a server that knows its callers by their certificates, and lets each call what it may. All certificates are
// made at start and thrown away.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"slices"

	"github.com/gotalk-go/gotalk"
)

// may says what each caller may call. Who is not in it may not even connect.
var may = map[string][]string{
	"alice": {"status", "restart"},
	"bob":   {"status"},
}

func main() {
	addr := flag.String("addr", "localhost:0", "address to listen at; port 0 is any free one")
	flag.Parse()
	log.SetFlags(0)

	ours, err := newAuthority("our clients and servers")
	if err != nil {
		log.Fatal(err)
	}
	server, err := serve(*addr, ours)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("server: listening at", server.Addr())

	for _, name := range []string{"alice", "bob", "carol"} {
		cert, err := ours.issue(name)
		if err != nil {
			log.Fatal(err)
		}
		visit(server.Addr(), name, ours.pool, cert)
	}

	// Somebody else can make a certificate for alice too, but nobody here trusts him.
	theirs, err := newAuthority("somebody else")
	if err != nil {
		log.Fatal(err)
	}
	forged, err := theirs.issue("alice")
	if err != nil {
		log.Fatal(err)
	}
	_, err = connect(server.Addr(), ours.pool, forged)
	fmt.Println("forged alice: gets in:", err == nil)
	_, err = connect(server.Addr(), ours.pool)
	fmt.Println("nobody: gets in:", err == nil)

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// serve starts the server.
func serve(addr string, ours *authority) (*gotalk.Server, error) {
	cert, err := ours.issue("localhost")
	if err != nil {
		return nil, err
	}
	server, err := gotalk.ListenTLSCustom("tcp", addr, &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ours.pool,
	})
	if err != nil {
		return nil, err
	}
	server.Handlers = handlers()
	server.Authorize = authorize
	go server.Accept() // ends in Shutdown
	return server, nil
}

// authorize finds out who a peer is, for all handlers.
func authorize(s *gotalk.Sock) error {
	name := s.TLS().PeerCertificates[0].Subject.CommonName // verified: see ClientAuth
	if may[name] == nil {
		return gotalk.NewError(gotalk.CodePermissionDenied, name+" may not connect")
	}
	s.UserData = name
	return nil
}

func handlers() *gotalk.Handlers {
	h := &gotalk.Handlers{}
	h.Use(func(ctx context.Context, call *gotalk.CallInfo, next func(context.Context) error) error {
		name, _ := call.Sock.UserData.(string)
		if !slices.Contains(may[name], call.Op) {
			return gotalk.NewError(gotalk.CodePermissionDenied, name+" may not call "+call.Op)
		}
		return next(ctx)
	})
	h.Handle("status", func() (string, error) { return "all is well", nil })
	h.Handle("restart", func(s *gotalk.Sock) (string, error) { return fmt.Sprint("restarted for ", s.UserData), nil })
	return h
}

// connect connects with a certificate, or with none.
func connect(addr string, trusted *x509.CertPool, certs ...tls.Certificate) (*gotalk.Sock, error) {
	return gotalk.ConnectTLS("tcp", addr, &tls.Config{ServerName: "localhost", RootCAs: trusted, Certificates: certs})
}

// visit calls what there is.
func visit(addr, name string, trusted *x509.CertPool, cert tls.Certificate) {
	s, err := connect(addr, trusted, cert)
	if err != nil {
		fmt.Printf("%s: %v\n", name, err)
		return
	}
	defer s.Close()
	for _, op := range []string{"status", "restart"} {
		var answer string
		if err := s.Request(op, nil, &answer); err != nil {
			answer = string(gotalk.CodeOf(err)) + ": " + err.Error()
		}
		fmt.Printf("%s: %s: %s\n", name, op, answer)
	}
}
