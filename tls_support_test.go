package gotalk_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// selfSigned makes a certificate for 127.0.0.1, for servers and clients.
func selfSigned(t testing.TB) (tls.Certificate, *x509.CertPool) {
	return certificateFor(t, "gotalk test")
}

func certificateFor(t testing.TB, name string) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Unix(0, 0), // bubbles of virtual time begin in 2000
		NotAfter:              time.Now().Add(100 * 365 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// listenTLS starts a server over TLS, and returns what its certificate is trusted by. config may be nil.
func listenTLS(t testing.TB, h *gotalk.Handlers, config *tls.Config) (*gotalk.Server, *x509.CertPool) {
	cert, pool := selfSigned(t)
	if config == nil {
		config = &tls.Config{}
	}
	config.Certificates = []tls.Certificate{cert}
	server, err := gotalk.ListenTLSCustom("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	server.Handlers = h
	stopped := inBackground(server.Accept)
	t.Cleanup(func() {
		require.NoError(t, server.Shutdown(context.Background()))
		<-stopped
	})
	return server, pool
}
