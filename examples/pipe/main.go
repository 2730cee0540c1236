// Pipe connects two Socks in memory, as tests of a program's handlers may do, and sends notifications both ways.
package main

import (
	"fmt"
	"log"

	"github.com/gotalk-go/gotalk"
)

func main() {
	log.SetFlags(0)
	h := &gotalk.Handlers{}
	h.Handle("add", func(p struct{ A, B int }) (int, error) { return p.A + p.B, nil })

	// Notifications are not answered. Those of one Sock are handled in the order in which they were sent.
	heard := make(chan string)
	h.HandleNotification("said", func(s *gotalk.Sock, name string, text string) { heard <- text })

	left, right, err := gotalk.Pipe(h, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer left.Close()
	defer right.Close()

	var sum int
	if err := left.Request("add", struct{ A, B int }{20, 22}, &sum); err != nil {
		log.Fatal(err)
	}
	fmt.Println("left: right says that 20 + 22 =", sum)
	if err := right.Request("add", struct{ A, B int }{1, 2}, &sum); err != nil {
		log.Fatal(err)
	}
	fmt.Println("right: left says that 1 + 2 =", sum)

	for _, text := range []string{"one", "two", "three"} {
		if err := left.Notify("said", text); err != nil {
			log.Fatal(err)
		}
	}
	for range 3 {
		fmt.Println("right: heard", <-heard)
	}
	if err := right.Notify("said", "thank you"); err != nil {
		log.Fatal(err)
	}
	fmt.Println("left: heard", <-heard)
}
