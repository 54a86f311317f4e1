// Command h3load asks for one thing over HTTP/3 in a closed loop, as h2load does over
// HTTP/2; Debian's h2load knows no HTTP/3. It prints a [measure.LoadResult] in JSON.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/edgegw/edge/bench/measure"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("h3load: ")
	var l loop
	flag.IntVar(&l.connections, "connections", 1, "`number` of them")
	flag.IntVar(&l.streams, "streams", 1, "`number` of requests at once on each")
	flag.DurationVar(&l.lasts, "lasts", time.Second, "for how `long`")
	flag.Parse()
	if flag.NArg() != 1 || l.connections < 1 || l.streams < 1 || l.lasts <= 0 {
		log.Fatalf("%q: want -connections, -streams and -lasts above 0, and a URL", os.Args[1:])
	}
	l.url = flag.Arg(0)
	result, err := l.run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

// loop is what is asked for.
type loop struct {
	url                  string
	connections, streams int
	lasts                time.Duration
}

// tally is what became of the requests.
type tally struct {
	mu     sync.Mutex
	took   []time.Duration
	bytes  int64
	errors int64
}

func (t *tally) add(bytes int64, took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took, t.bytes = append(t.took, took), t.bytes+bytes
	if err != nil {
		t.errors++
	}
}

// patience is how long answers may take that are under way at the end.
const patience = 5 * time.Second

// run asks until the time is over. Requests that failed are in the result.
func (l loop) run(ctx context.Context) (measure.LoadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, l.lasts+patience)
	defer cancel()
	var t tally
	var asking sync.WaitGroup
	began := time.Now()
	for range l.connections {
		// One transport has one connection to a server. Who checks the answers looks
		// at the certificate.
		connection := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
		defer connection.Close()
		for range l.streams {
			asking.Go(func() {
				for failed := false; !failed && time.Since(began) < l.lasts; {
					sent := time.Now()
					n, err := ask(ctx, connection, l.url)
					t.add(n, time.Since(sent), err)
					failed = err != nil
				}
			})
		}
	}
	asking.Wait()
	elapsed := time.Since(began)
	slices.Sort(t.took)
	return measure.LoadResult{
		Requests: int64(len(t.took)), Errors: t.errors, Bytes: float64(t.bytes), Elapsed: elapsed,
		P50: measure.Quantile(t.took, 0.5), P99: measure.Quantile(t.took, 0.99),
	}, ctx.Err()
}

func ask(ctx context.Context, connection *http3.Transport, url string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := connection.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return n, err
}
