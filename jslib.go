package gotalk

import (
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"embed"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

//go:embed js/dist/gotalk.js js/dist/gotalk.js.map
var dist embed.FS

// JSLibString is the browser's client library, which a WebSocketServer serves as gotalk.js.
var JSLibString = string(mustRead("gotalk.js"))

// JSLibSHA1Base64 is the SHA-1 of JSLibString in base64.
var JSLibSHA1Base64 = digest([]byte(JSLibString))

func mustRead(name string) []byte {
	b, err := dist.ReadFile("js/dist/" + name)
	if err != nil {
		panic(err) // the compiler has embedded it
	}
	return b
}

func digest(b []byte) string {
	sum := sha1.Sum(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// asset is a file that is served, in both encodings.
type asset struct {
	contentType string
	plain, gzip []byte
	etag        string // of the plain one, without quotes
}

var script = sync.OnceValue(func() *asset { return newAsset("gotalk.js", "application/javascript; charset=utf-8") })
var sourceMap = sync.OnceValue(func() *asset { return newAsset("gotalk.js.map", "application/json") })

func newAsset(name, contentType string) *asset {
	plain := mustRead(name)
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	z.Write(plain) // to memory: cannot fail
	z.Close()
	return &asset{contentType: contentType, plain: plain, gzip: b.Bytes(), etag: digest(plain)}
}

// serveScript serves the client library and its source map if the request is for one of them.
func serveScript(w http.ResponseWriter, r *http.Request) bool {
	var a *asset
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/gotalk.js"):
		a = script()
	case strings.HasSuffix(path, "/gotalk.js.map"):
		a = sourceMap()
	default:
		return false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "gotalk: "+r.Method+" is not allowed here", http.StatusMethodNotAllowed)
		return true
	}
	body, etag := a.plain, `"`+a.etag+`"`
	h := w.Header()
	if acceptsGzip(r.Header.Values("Accept-Encoding")) {
		body, etag = a.gzip, `"`+a.etag+`-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Cache-Control", "public,max-age=300")
	h.Set("ETag", etag)
	h.Set("Vary", "Accept-Encoding")
	if matches(r.Header.Values("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		w.Write(body)
	}
	return true
}

// acceptsGzip tells whether a client that sends these Accept-Encoding headers likes gzip at least as much as nothing.
func acceptsGzip(headers []string) bool {
	gz, star, identity := -1.0, -1.0, -1.0
	for item := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		name, params, _ := strings.Cut(item, ";")
		q := 1.0
		for param := range strings.SplitSeq(params, ";") {
			key, value, ok := strings.Cut(strings.TrimSpace(param), "=")
			if !ok || !strings.EqualFold(strings.TrimSpace(key), "q") {
				continue
			}
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				n = 0
			}
			q = n
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip":
			gz = q
		case "*":
			star = q
		case "identity":
			identity = q
		}
	}
	if gz < 0 {
		gz = star
	}
	return gz > 0 && gz >= identity
}

// matches tells whether one of these If-None-Match headers has the tag, a strong one, in its list.
func matches(headers []string, etag string) bool {
	for item := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.TrimPrefix(item, "W/") == etag {
			return true
		}
	}
	return false
}
