package gotalk_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// get asks a WebSocketServer for a path with request headers given as name, value, name, value …
func get(t *testing.T, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	gotalk.NewWebSocketServer().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return b
}

func TestScriptIsServedAtAnyPath(t *testing.T) {
	for _, path := range []string{"/gotalk.js", "/gotalk/gotalk.js", "/x/y/gotalk.js?z"} {
		res := get(t, "GET", path)
		require.Equal(t, 200, res.StatusCode, path)
		require.Equal(t, "application/javascript; charset=utf-8", res.Header.Get("Content-Type"))
		require.Equal(t, "public,max-age=300", res.Header.Get("Cache-Control"))
		require.Equal(t, "Accept-Encoding", res.Header.Get("Vary"))
		b := body(t, res)
		require.Equal(t, gotalk.JSLibString, string(b))
		require.Equal(t, strconv.Itoa(len(b)), res.Header.Get("Content-Length"))
	}
	require.Equal(t, 400, get(t, "GET", "/xgotalk.js").StatusCode, "not the script, and no WebSocket either")
	require.Equal(t, "application/json", get(t, "GET", "/a/gotalk.js.map").Header.Get("Content-Type"))
	sum := sha1.Sum([]byte(gotalk.JSLibString))
	require.Equal(t, base64.StdEncoding.EncodeToString(sum[:]), gotalk.JSLibSHA1Base64)
}

func TestScriptIsSmall(t *testing.T) {
	const most = 7500 // bytes, compressed as it is served
	res := get(t, "GET", "/gotalk.js", "Accept-Encoding", "gzip")
	b := body(t, res)
	require.LessOrEqual(t, len(b), most)
	require.Equal(t, "gzip", res.Header.Get("Content-Encoding"))
	z, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, gotalk.JSLibString, string(plain))
	t.Logf("gotalk.js: %d bytes, %d with gzip", len(plain), len(b))
}

func TestScriptEncodingIsNegotiated(t *testing.T) {
	for accept, zipped := range map[string]bool{
		"":                              false,
		"gzip":                          true,
		"GZIP":                          true,
		"x-gzip":                        true,
		"deflate, gzip;q=1.0, *;q=0.5":  true,
		"gzip;q=0.5":                    true,
		"gzip;q=0":                      false,
		"gzip; Q=0.000":                 false,
		"*":                             true,
		"*;q=0":                         false,
		"*, gzip;q=0":                   false,
		"identity":                      false,
		"identity, gzip;q=0.5":          false,
		"identity;q=0.5, gzip":          true,
		"br":                            false,
		"gzipped":                       false,
		"gzip;q=nonsense":               false,
		"br;q=1 , gzip ; q=0.8,deflate": true,
	} {
		res := get(t, "GET", "/gotalk.js", "Accept-Encoding", accept)
		require.Equal(t, zipped, res.Header.Get("Content-Encoding") == "gzip", accept)
		require.Equal(t, "Accept-Encoding", res.Header.Get("Vary"), accept)
	}
	res := get(t, "GET", "/gotalk.js", "Accept-Encoding", "br", "Accept-Encoding", "gzip")
	require.Equal(t, "gzip", res.Header.Get("Content-Encoding"), "in the second of two headers")
}

func TestScriptIsNotSentAgain(t *testing.T) {
	plain := get(t, "GET", "/gotalk.js").Header.Get("ETag")
	zipped := get(t, "GET", "/gotalk.js", "Accept-Encoding", "gzip").Header.Get("ETag")
	require.NotEqual(t, plain, zipped, "a strong tag is for one encoding")
	require.Equal(t, `"`+gotalk.JSLibSHA1Base64+`"`, plain)
	for _, match := range []string{plain, `"x", ` + plain, "W/" + plain, "*"} {
		res := get(t, "GET", "/gotalk.js", "If-None-Match", match)
		require.Equal(t, 304, res.StatusCode, match)
		require.Empty(t, body(t, res))
		for name, value := range map[string]string{"ETag": plain, "Cache-Control": "public,max-age=300", "Vary": "Accept-Encoding"} {
			require.Equal(t, value, res.Header.Get(name))
		}
	}
	require.Equal(t, 304, get(t, "GET", "/gotalk.js", "If-None-Match", `"x"`, "If-None-Match", plain).StatusCode)
	require.Equal(t, 200, get(t, "GET", "/gotalk.js", "If-None-Match", zipped).StatusCode)
	require.Equal(t, 304, get(t, "GET", "/gotalk.js", "If-None-Match", zipped, "Accept-Encoding", "gzip").StatusCode)
}

func TestScriptMethods(t *testing.T) {
	res := get(t, "HEAD", "/gotalk.js")
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, strconv.Itoa(len(gotalk.JSLibString)), res.Header.Get("Content-Length"))
	require.Empty(t, body(t, res))
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		res := get(t, method, "/gotalk.js")
		require.Equal(t, 405, res.StatusCode, method)
		require.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
	}
}
