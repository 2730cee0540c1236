// Command websocket-minimal serves a page with one button, which calls an operation of this program.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/gotalk-go/gotalk"
)

//go:embed page.html
var page []byte

func main() {
	addr := flag.String("addr", "localhost:1234", "where to listen")
	flag.Parse()

	gotalk.Handle("echo", func(in string) (string, error) { return in, nil })
	http.Handle("/gotalk/", gotalk.NewWebSocketServer()) // the WebSocket, and the script /gotalk/gotalk.js
	http.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { w.Write(page) })

	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatalf("%v (-addr chooses another address)", err)
	}
	fmt.Printf("Open http://%s in a browser\n", l.Addr())
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second} // who is slower is dropped
	log.Fatal(server.Serve(l))
}
