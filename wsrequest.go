package gotalk

import (
	"encoding/binary"
	"net/http"
	"net/url"
	"strings"
)

// Few programs ask for the HTTP request that a WebSocket began with, and it lives as long as the connection. So what takes
// most of its memory is packed until somebody does.

// packRequest returns r without its body, which nobody can read any more, and without what packed holds instead: its
// header, and its URL if that is what the request line says.
func packRequest(r *http.Request) (rest *http.Request, packed string) {
	rest = r.WithContext(r.Context())
	rest.Header, rest.Body = nil, http.NoBody
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil && r.URL != nil && *u == *r.URL {
		rest.URL = nil
	}
	var b []byte
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for key, values := range r.Header {
		text(key)
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			text(v)
		}
	}
	return rest, string(b)
}

// unpackRequest completes a request that was packed.
func unpackRequest(r *http.Request, packed string) {
	if r.URL == nil {
		r.URL, _ = url.ParseRequestURI(r.RequestURI) // as when it was packed
	}
	in := strings.NewReader(packed)
	text := func() string {
		n, _ := binary.ReadUvarint(in)
		at := len(packed) - in.Len()
		in.Seek(int64(n), 1)
		return strings.Clone(packed[at : at+int(n)])
	}
	r.Header = http.Header{}
	for in.Len() > 0 {
		key := text()
		n, _ := binary.ReadUvarint(in)
		values := make([]string, n)
		for i := range values {
			values[i] = text()
		}
		r.Header[key] = values
	}
}
