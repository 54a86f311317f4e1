// Command barehttp is what Go's net/http takes for an answer from memory: the least of
// any server that is built on it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/edgegw/edge/bench/object"
)

// config is the file that it is run with.
type config struct {
	Listen string `json:"listen"`
	// Certificate and Key are files; empty for HTTP/1.1 without TLS.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
	// Quic: HTTP/3 as well.
	Quic  bool  `json:"quic,omitempty"`
	Sizes []int `json:"sizes"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("barehttp: ")
	path := flag.String("config", "", "`file` to read")
	flag.Parse()
	if err := run(*path); err != nil {
		log.Fatal(err)
	}
}

func run(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	server := &http.Server{Addr: c.Listen, Handler: handler(c.Sizes), ReadHeaderTimeout: 10 * time.Second}
	if c.Certificate == "" {
		return server.ListenAndServe()
	}
	if c.Quic {
		return http3.ListenAndServeTLS(c.Listen, c.Certificate, c.Key, server.Handler)
	}
	return server.ListenAndServeTLS(c.Certificate, c.Key)
}

// handler answers from memory, with as many fields as an origin has.
func handler(sizes []int) http.Handler {
	bodies := make(map[string][]byte)
	for _, size := range sizes {
		bodies[object.Path(size)] = object.Body(size)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, found := bodies[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("Cache-Control", "public, max-age=31536000")
		_, _ = w.Write(body) // who has left cannot be told
	})
}
