package conform

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// address is where the peer listens.
type address struct {
	network, host string
	url           *url.URL // of a WebSocket, else nil
	tls           *tls.Config
}

const addressForms = "HOST:PORT, tls://HOST:PORT, unix:PATH, ws://… and wss://…"

// parseAddress understands addressForms.
func parseAddress(s string, insecure bool) (address, error) {
	no := fmt.Errorf("%q is none of %s", s, addressForms)
	switch {
	case strings.HasPrefix(s, "tls://"):
		s = s[len("tls://"):]
		host, _, err := net.SplitHostPort(s)
		if err != nil {
			return address{}, no
		}
		return address{network: "tcp", host: s, tls: &tls.Config{ServerName: host, InsecureSkipVerify: insecure}}, nil
	case strings.HasPrefix(s, "unix:"):
		return address{network: "unix", host: s[len("unix:"):]}, nil
	case !strings.Contains(s, "://"):
		if _, _, err := net.SplitHostPort(s); err != nil {
			return address{}, no
		}
		return address{network: "tcp", host: s}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return address{}, err
	}
	port := map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	if port == "" || u.Host == "" {
		return address{}, no
	}
	if u.Port() != "" {
		port = u.Port()
	}
	a := address{network: "tcp", host: net.JoinHostPort(u.Hostname(), port), url: u}
	if u.Scheme == "wss" {
		a.tls = &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: insecure}
	}
	return a, nil
}

// dial connects, up to where a WebSocket would be begun.
func (a address) dial(ctx context.Context) (net.Conn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, a.network, a.host)
	if err != nil || a.tls == nil {
		return nc, err
	}
	secure := tls.Client(nc, a.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return secure, nil
}

// origin is that of a page of the server's own host.
func (a address) origin() string {
	return map[string]string{"ws": "http", "wss": "https"}[a.url.Scheme] + "://" + a.url.Host
}

// upgradeRequest is what a browser would send to begin a WebSocket.
func (a address) upgradeRequest(origin string, more http.Header) string {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: %s\r\nOrigin: %s\r\n", a.url.RequestURI(), a.url.Host, upgradeKey, origin)
	more.Write(&b)
	return b.String() + "\r\n"
}

var upgradeKey = base64.StdEncoding.EncodeToString([]byte("gotalk conform!!"))

// acceptKey is what a server must answer to upgradeKey.
func acceptKey() string {
	sum := sha1.Sum([]byte(upgradeKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// readUpgrade reads the answer to an upgradeRequest.
func readUpgrade(br *bufio.Reader) (*http.Response, error) {
	r, err := http.ReadResponse(br, &http.Request{Method: http.MethodGet})
	if err == nil {
		r.Body.Close()
	}
	return r, err
}
