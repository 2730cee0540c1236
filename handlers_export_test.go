package gotalk

// The lookups of the read loop.

func (h *Handlers) LookupRequest(name []byte) (BufferReqHandler, string) {
	fn, found, _ := h.findRequest(name)
	return fn, found
}

func (h *Handlers) LookupStream(name []byte) (StreamReqHandler, string) { return h.findStream(name) }

func (h *Handlers) LookupNotification(name []byte) (BufferNoteHandler, string) {
	return h.findNotification(name)
}
