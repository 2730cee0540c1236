package gotalk_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// extensions says which payloads are valid, by name; nil where that depends on more than the payload's form.
var extensions = map[string]func(b []byte) bool{
	"hello":  nil,
	"goaway": nil,
	"error":  nil,
	"future": func([]byte) bool { return true },
	"cancel": func(b []byte) bool { return len(b) == 4 },
	"credit": func(b []byte) bool {
		noDigit := func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) }
		return len(b) == 13 && (b[0] == 'p' || b[0] == 'S') && !strings.ContainsFunc(string(b[5:]), noDigit)
	},
	"meta": func(b []byte) bool {
		var fields map[string]json.RawMessage
		return len(b) >= 4 && json.Unmarshal(b[4:], &fields) == nil && fields != nil
	},
}

// FuzzExtensions: a payload is what the protocol says of its extension, and calls go on, or it is an invalid message, which
// ends the connection. To a side that has heard no hello it is nothing.
func FuzzExtensions(f *testing.F) {
	for _, payload := range []string{
		"", "{}", "null", "[]", `{"cancel":1,"credit":262144,"error":1,"goaway":1,"meta":1,"split":131072}`, `{"credit":0}`,
		`{"split":"1"}`, "aaaa", "paaaa0000ffff", "SaaaaFFFFFFFF", "xaaaa00000000", "paaaa0000000g", `aaaa{"timeout_ms":1}`,
		`aaaa{"size":-1,"a":"b","c":1}`, "aaaa[]", `{"after_ms":1e3,"jitter_ms":-1,"reason":"r"}`, `{"code":"a","message":"b"}`,
	} {
		for i := range len(extensions) {
			f.Add(uint8(i), true, []byte(payload))
		}
		f.Add(uint8(0), false, []byte(payload))
	}
	var names []string
	for name := range extensions {
		names = append(names, name)
	}
	slices.Sort(names)
	h := fuzzHandlers()
	f.Fuzz(func(t *testing.T, which uint8, greeted bool, b []byte) {
		name := names[int(which)%len(names)]
		synctest.Test(t, func(t *testing.T) {
			p := serveInMemory(t, h, fuzzLimits).peer()
			if greeted {
				p.greets("{}")
			}
			go p.trySay(notification("gotalk:"+name, string(b)), request("aaaa", "echo", 2)+"hi")
			heard := p.hear()
			p.w.nc.Close()
			valid := extensions[name]
			switch {
			case greeted && name != "future" && len(b) > 16<<10:
				require.Equal(t, "f00000002", heard)
			case !greeted && name != "hello":
				require.Equal(t, part("R", "aaaa", 2)+"hi", heard)
			case valid == nil:
				require.Contains(t, []string{"f00000002", "end", part("R", "aaaa", 2) + "hi"}, heard)
			case valid(b):
				require.Equal(t, part("R", "aaaa", 2)+"hi", heard)
			default:
				require.Equal(t, "f00000002", heard)
			}
		})
	})
}
