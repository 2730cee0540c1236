package gotalk

import "encoding/json"

// helloName is the notification by which a connecting peer says what it understands beyond protocol 1, and an accepting
// one answers. Old peers drop it, and we send it only to a peer that has sent it, so they see nothing of it.
const helloName = reservedPrefix + "hello"

// hello is what a peer understands. A key that is absent it does not; keys that we do not know do not matter.
type hello struct {
	Join int `json:"join,omitempty"` // header, payload and whole messages may share a WebSocket message
}

// onExtension takes a notification with a reserved name. It never reaches a program's handlers.
func (l *link) onExtension(h header) error {
	if string(h.name) != helloName || l.sock.NoExtensions {
		return l.r.skip(h.size)
	}
	if h.size > maxHelloSize {
		return errMalformed
	}
	payload, err := l.r.payload(h.size)
	if err != nil {
		return err
	}
	var peer hello
	if json.Unmarshal(payload, &peer) != nil {
		return errMalformed
	}
	if l.greeted.Swap(true) {
		return nil
	}
	if peer.Join > 0 && l.w.framing == serverFraming {
		l.joins = true
		l.w.startJoining()
	}
	if l.sock.accepted {
		var ours hello
		if l.ws != nil {
			ours.Join = 1
		}
		b, _ := json.Marshal(ours) // of a struct of numbers: cannot fail
		l.post(&message{t: MsgTypeNotification, name: helloName, payload: b})
	}
	return nil
}

// maxHelloSize is far more than a hello needs.
const maxHelloSize = 16 << 10
