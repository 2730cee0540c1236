// Command size tells names.mjs how many bytes a server sends of a script. It reads scripts, each behind its length in a
// line of its own, and writes a number for each.
package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"os"
)

type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

func main() {
	in := bufio.NewReader(os.Stdin)
	z, _ := gzip.NewWriterLevel(nil, gzip.BestCompression)
	for {
		var n int64
		switch _, err := fmt.Fscanln(in, &n); {
		case err == io.EOF:
			return
		case err != nil:
			log.Fatal(err)
		}
		var size counter
		z.Reset(&size)
		if _, err := io.CopyN(z, in, n); err != nil {
			log.Fatal(err)
		}
		z.Close() // counting cannot fail
		fmt.Println(int(size))
	}
}
