package gotalk

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
)

var rootCerts struct {
	mu   sync.Mutex
	pool *x509.CertPool
}

// TLSCertPool returns the certificates that ConnectTLS trusts: the system's and those added by TLSAddRootCerts. The pool
// is the one in use.
func TLSCertPool() *x509.CertPool {
	rootCerts.mu.Lock()
	defer rootCerts.mu.Unlock()
	return rootPoolLocked()
}

func rootPoolLocked() *x509.CertPool {
	if rootCerts.pool == nil {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		rootCerts.pool = pool
	}
	return rootCerts.pool
}

// TLSAddRootCerts makes ConnectTLS trust the certificates in a PEM file too.
func TLSAddRootCerts(certFile string) error {
	pem, err := os.ReadFile(certFile)
	if err != nil {
		return err
	}
	rootCerts.mu.Lock()
	defer rootCerts.mu.Unlock()
	if !rootPoolLocked().AppendCertsFromPEM(pem) {
		return fmt.Errorf("failed to load X.509 certificate file %q", certFile)
	}
	return nil
}

// clientConfig returns config with TLSCertPool for RootCAs if it has none.
func clientConfig(config *tls.Config) *tls.Config {
	if config == nil {
		config = &tls.Config{}
	}
	if config.RootCAs == nil {
		config = config.Clone()
		rootCerts.mu.Lock()
		config.RootCAs = rootPoolLocked().Clone() // certificates may be added while this one is in use
		rootCerts.mu.Unlock()
	}
	return config
}

// ListenTLS is Listen over TLS, 1.2 or later, with the certificate and key in PEM files.
func ListenTLS(how, addr string, certFile, keyFile string) (*Server, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("gotalk: cannot load the certificate: %w", err)
	}
	return ListenTLSCustom(how, addr, &tls.Config{Certificates: []tls.Certificate{cert}})
}

// ListenTLSCustom is Listen over TLS with a configuration, which has at least a certificate. What it leaves open is as
// crypto/tls has it: TLS 1.2 and later. With ClientAuth and ClientCAs the peers show certificates too; see Sock.TLS.
func ListenTLSCustom(how, addr string, config *tls.Config) (*Server, error) {
	l, err := listen(how, addr)
	if err != nil {
		return nil, err
	}
	return NewServer(DefaultHandlers, DefaultLimits, tls.NewListener(l, config)), nil
}
