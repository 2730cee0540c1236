package gotalk

import (
	"context"
	"maps"
)

type outgoingMeta struct{} // key of the metadata that calls made with a context send
type incomingMeta struct{} // key of the metadata that came with the request a context belongs to

// WithMeta returns a context with which calls send metadata along: texts by name, in all at most 16 KiB, that the peer's
// handler finds with MetaFrom. They are added to what ctx has. A peer of gotalk 1.x gets none of it, nor do handlers of
// notifications. The name "timeout_ms" is taken: it carries the context's deadline. A large request with
// metadata named "size" leaves whole, as its parts would need that name.
func WithMeta(ctx context.Context, meta map[string]string) context.Context {
	old, _ := ctx.Value(outgoingMeta{}).(map[string]string)
	all := make(map[string]string, len(old)+len(meta))
	maps.Copy(all, old)
	maps.Copy(all, meta)
	return context.WithValue(ctx, outgoingMeta{}, all)
}

// MetaFrom returns the metadata that the caller sent along with the request that a handler's context belongs to; nil if
// there is none. It must not be changed. It is not passed on by itself when the handler calls somebody else.
func MetaFrom(ctx context.Context) map[string]string {
	m, _ := ctx.Value(incomingMeta{}).(map[string]string)
	return m
}
