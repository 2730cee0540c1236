package conform_test

import (
	"testing"

	"github.com/gotalk-go/gotalk"
	"github.com/gotalk-go/gotalk/cmd/gotalk/internal/conform"
	"github.com/stretchr/testify/require"
)

func TestOursPasses(t *testing.T) {
	for name, serve := range map[string]func(testing.TB, *gotalk.Handlers, *gotalk.Limits) string{"tcp": serveTCP, "websocket": serveWebSocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := check(t, options(serve(t, handlers(), nil)))
			require.Empty(t, ended(r, conform.Failed))
		})
	}
}
