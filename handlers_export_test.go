package gotalk

// The lookups of the read loop.

func (h *Handlers) LookupRequest(name []byte) (BufferReqHandler, string) {
	e := h.findRequest(name)
	return e.fn.plain, e.name
}

func (h *Handlers) LookupStream(name []byte) (StreamReqHandler, string) {
	fn, op := h.findStream(name)
	return fn.old, op
}

func (h *Handlers) LookupNotification(name []byte) (BufferNoteHandler, string) {
	e := h.findNotification(name)
	return e.fn.plain, e.name
}
