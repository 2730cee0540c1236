package gotalk

// The lookups of the read loop.

func (h *Handlers) LookupRequest(name []byte) (BufferReqHandler, string) {
	e := h.findRequest(name)
	if e == nil {
		return nil, ""
	}
	return e.fn.plain, e.name
}

func (h *Handlers) LookupStream(name []byte) (StreamReqHandler, string) {
	e := h.findStream(name)
	if e == nil {
		return nil, ""
	}
	return e.fn.old, e.name
}

func (h *Handlers) LookupNotification(name []byte) (BufferNoteHandler, string) {
	e := h.findNotification(name)
	if e == nil {
		return nil, ""
	}
	return e.fn.plain, e.name
}
