// Command origin is the application behind every peer: it serves the objects
// with validators and counts how often they were fetched.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("origin: ")
	var (
		listen       = flag.String("listen", "127.0.0.1:0", "`address` to listen on")
		sizes        = flag.String("sizes", "1024", "sizes of the bodies to serve, in `bytes`, separated by commas")
		cacheControl = flag.String("cache-control", "public, max-age=3600", "the Cache-Control `value` of every object; empty sends none")
		delay        = flag.Duration("delay", 0, "time to wait before each answer")
	)
	flag.Parse()
	if err := run(*listen, *sizes, options{cacheControl: *cacheControl, delay: *delay}); err != nil {
		log.Fatal(err)
	}
}

func run(listen, sizes string, o options) error {
	parsed, err := parseSizes(sizes)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println("listening on", l.Addr())
	server := &http.Server{Handler: newHandler(parsed, o), ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}

func parseSizes(text string) ([]int, error) {
	var sizes []int
	for word := range strings.SplitSeq(text, ",") {
		size, err := strconv.Atoi(word)
		if err != nil || size < 0 {
			return nil, fmt.Errorf("size %q: want a number of bytes such as 1024", word)
		}
		sizes = append(sizes, size)
	}
	return sizes, nil
}
