package main

type message struct {
	ID   int64  `json:"id"`
	User string `json:"user"`
	Name string `json:"name"`
	Text string `json:"text"`
	Time int64  `json:"time"` // in milliseconds
}

// What pages are sent: welcome, entered, room, gone, people, message, typing, restart and replaced.
type (
	welcome struct {
		User  string     `json:"user"`
		Name  string     `json:"name"`
		Rooms []roomInfo `json:"rooms"`
	}
	entered struct {
		Room     string    `json:"room"`
		People   []person  `json:"people"`
		Messages []message `json:"messages"`
	}
	// With the ids a page counts the messages that it has not seen: their difference to the last one that it has.
	roomInfo struct {
		Name   string `json:"name"`
		People int    `json:"people"`
		First  int64  `json:"first"`
		Last   int64  `json:"last"`
	}
	person struct {
		User string `json:"user"`
		Name string `json:"name"`
	}
	typing struct {
		person
		On bool `json:"on"`
	}
)

// hello is what a page sends first. The key is its secret: whoever knows it is the same person.
type hello struct {
	Key  string `json:"key"`
	Name string `json:"name"` // that it would like to have, or ""
	Room string `json:"room"`
}
