package gotalk_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gotalk-go/gotalk"
	"github.com/stretchr/testify/require"
)

// The table of limits in SECURITY.md is what servers on the internet are planned by.
func TestSecurityDocDefaults(t *testing.T) {
	doc, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	said := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `?([A-Za-z. ]+?)`? \\| ([^|]+) \\| [^|]+ \\|$")
	table, _, _ := strings.Cut(string(doc), "makes a server hold")
	for _, row := range row.FindAllStringSubmatch(table, -1) {
		said[row[1]] = row[2]
	}
	delete(said, "limit")

	want := map[string]string{}
	for name, n := range gotalk.Bounds {
		want[name] = size(n)
	}
	want["refusals"] = fmt.Sprint(gotalk.Bounds["refusals"])
	delete(want, "streams of HandleStream")
	require.Contains(t, string(doc), fmt.Sprintf("0 is %d for `HandleStream`", gotalk.Bounds["streams of HandleStream"]))

	limits := reflect.ValueOf(gotalk.Resolved(nil))
	for i := range limits.NumField() {
		name, v := limits.Type().Field(i).Name, limits.Field(i)
		text := fmt.Sprint(v.Interface())
		switch {
		case v.Type() == reflect.TypeFor[time.Duration]():
			text = regexp.MustCompile(`(ms|s)$`).ReplaceAllString(text, " $1")
		case v.Type().Kind() == reflect.Uint32 && uint32(v.Uint()) == gotalk.Unlimited:
			text = "no limit"
		case strings.HasSuffix(name, "Bytes"):
			text = size(int(v.Int()))
		case name == "MaxPayload":
			text = size(int(v.Uint()))
		}
		want["Limits."+name] = text
	}
	for _, server := range []any{gotalk.NewServer(nil, nil, nil), gotalk.NewWebSocketServer()} {
		v := reflect.ValueOf(server).Elem()
		for _, name := range []string{"MaxConnections", "MaxConnectionsPerAddr"} {
			require.Zero(t, v.FieldByName(name).Int())
			want[v.Type().Name()+"."+name] = "no limit"
		}
	}
	require.Equal(t, want, said)
}

func size(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprint(n>>20, " MiB")
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprint(n>>10, " KiB")
	}
	return fmt.Sprint(n, " bytes")
}

// So is that of what a peer makes a server hold: TestBounds fails where it is more.
func TestSecurityDocBounds(t *testing.T) {
	doc, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(doc), "makes a server hold")
	require.True(t, found)
	for _, a := range attacks() {
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(a.name) + ` \| [0-9.]+ [kM]B \| ` + size(a.bound) + ` \|$`)
		require.Regexp(t, row, table)
		table = row.ReplaceAllString(table, "")
	}
	require.NotRegexp(t, `(?m)\d [kM]B \| \d+ [KM]iB \|$`, table, "attacks that nobody tries")
}
