// TLS talks over an encrypted connection. The server's certificate is made at start, so it never expires; a server on the
// internet has one that everybody trusts, loads it with gotalk.ListenTLS, and clients need no configuration at all.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/big"
	"time"

	"github.com/gotalk-go/gotalk"
)

func main() {
	addr := flag.String("addr", "localhost:0", "address to listen at; port 0 is any free one")
	flag.Parse()
	log.SetFlags(0)

	cert, err := makeCertificate("localhost")
	if err != nil {
		log.Fatal(err)
	}
	gotalk.Handle("echo", func(message string) (string, error) { return message, nil })
	server, err := gotalk.ListenTLSCustom("tcp", *addr, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		log.Fatal(err)
	}
	go server.Accept() // ends in Shutdown
	fmt.Println("server: listening at", server.Addr())

	// Nobody knows the certificate yet.
	_, err = gotalk.ConnectTLS("tcp", server.Addr(), &tls.Config{ServerName: "localhost"})
	var unknown x509.UnknownAuthorityError
	fmt.Println("client: refuses a certificate that it does not know:", errors.As(err, &unknown))

	trusted := x509.NewCertPool()
	trusted.AddCert(cert.Leaf)
	s, err := gotalk.ConnectTLS("tcp", server.Addr(), &tls.Config{ServerName: "localhost", RootCAs: trusted})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if conn, ok := s.Conn().(*tls.Conn); ok {
		fmt.Println("client: connected with", tls.VersionName(conn.ConnectionState().Version))
	}
	var answer string
	if err := s.Request("echo", "nobody else reads this", &answer); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("client: echo answers %q\n", answer)

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// makeCertificate makes a certificate for host that vouches for itself.
func makeCertificate(host string) (cert tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: host},
		DNSNames:              []string{host},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return cert, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
