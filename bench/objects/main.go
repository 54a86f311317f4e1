// Command objects asks a gateway for a great many small objects, each once, and
// says what memory its process takes for one of them. It is run in the folder
// bench: go run ./objects
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/bench/command"
	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/object"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
)

const (
	token    = "objects-of-a-kibibyte"
	size     = 1 << 10
	visitors = 32
	// warmth is how many objects come first, so that what is made once is not counted.
	warmth = 10_000
	// rest is how long nothing happens before memory is read: edge collects garbage
	// when a burst is over.
	rest = 20 * time.Second
)

type options struct {
	objects int
	cap     int // MiB
}

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.IntVar(&o.objects, "objects", 1_000_000, "`number` of distinct URLs")
	flag.IntVar(&o.cap, "cap", 2560, "cap on the cache, in `MiB`; all objects must have room")
	flag.Parse()
	command.Main(run, o)
}

func run(ctx context.Context, o options) error {
	if o.objects < warmth || o.cap < 1 {
		return fmt.Errorf("-objects %d, -cap %d: want %d and 1 at least", o.objects, o.cap, warmth)
	}
	return command.Scratch("objects", func(dir string) (err error) {
		binary, version, err := peers.Build(ctx, "edge", dir)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		origin := &http.Server{Handler: http.HandlerFunc(answer), ReadHeaderTimeout: 10 * time.Second}
		served := make(chan error, 1)
		go func() { served <- origin.Serve(listener) }()
		defer func() {
			err = errors.Join(err, origin.Close())
			if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
				err = errors.Join(err, ended)
			}
		}()
		addresses, err := gateway.Addresses(1)
		if err != nil {
			return err
		}
		edge := gateway.Cache(binary, dir, addresses[0], listener.Addr().String(), token, fmt.Sprintf("memory %dMiB", o.cap))
		fmt.Println(version)
		return edge.Run(func(server *process.Process) error { return fill(ctx, o, addresses[0], server) })
	})
}

var body = object.Body(size)

// answer is an object with the header that a small application sends: each has a
// validator of its own.
func answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=86400")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Etag", fmt.Sprintf(`"%x"`, r.URL.Path))
	_, _ = w.Write(body) // a gateway that leaves shows where it is asked
}

// fill asks for all objects and prints what each takes.
func fill(ctx context.Context, o options, address string, server *process.Process) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: visitors}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	status := func(ctx context.Context) (found struct {
		Cache struct{ Entries, Bytes int64 }
	}, err error) {
		err = gateway.Control(ctx, client, token, http.MethodGet, "http://"+address+"/.edge/status", nil, &found)
		return found, err
	}
	if err := gateway.Ready(ctx, server.Exited(), func(ctx context.Context) error { _, err := status(ctx); return err }); err != nil {
		return err
	}
	proc := measure.Procfs{FS: os.DirFS("/proc")}
	var memory [2]int64
	var bytes [2]int64
	for i, part := range [...]struct{ from, to int }{{0, warmth}, {warmth, o.objects}} {
		if err := ask(ctx, client, address, part.from, part.to); err != nil {
			return err
		}
		client.CloseIdleConnections()
		if !gateway.Pause(ctx, rest) {
			return ctx.Err()
		}
		var err error
		if memory[i], err = proc.TreeMemory(server.PID()); err != nil {
			return err
		}
		now, err := status(ctx)
		if err != nil {
			return err
		}
		if bytes[i] = now.Cache.Bytes; now.Cache.Entries != int64(part.to) {
			return fmt.Errorf("%d objects are stored of %d: want a larger -cap", now.Cache.Entries, part.to)
		}
	}
	n := float64(o.objects - warmth)
	fmt.Printf("%d objects of %d bytes: %.0f bytes of the process each, %.0f of the account\n",
		o.objects, size, float64(memory[1]-memory[0])/n, float64(bytes[1]-bytes[0])/n)
	return nil
}

// ask asks for some objects, each once.
func ask(ctx context.Context, client *http.Client, address string, from, to int) error {
	var next atomic.Int64
	next.Store(int64(from))
	errs := make([]error, visitors)
	var all sync.WaitGroup
	for v := range visitors {
		all.Go(func() {
			for n := next.Add(1) - 1; n < int64(to) && errs[v] == nil; n = next.Add(1) - 1 {
				errs[v] = get(ctx, client, fmt.Sprintf("http://%s/objects/%07d", address, n))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func get(ctx context.Context, client *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n != size) {
		err = fmt.Errorf("%s: %s with %d bytes: want 200 with %d", url, resp.Status, n, size)
	}
	return err
}
