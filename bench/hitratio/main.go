// Command hitratio compares which share of requests edge's store answers under
// a bound on memory with plain LRU, with otter's W-TinyLFU and with a bound on
// what any policy can reach, on made-up traces. It is run in bench:
// go run ./hitratio.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
)

func main() {
	log.SetFlags(log.Ltime)
	out := flag.String("out", "-", "`file` to write; - for standard output")
	length := flag.Int("requests", 400_000, "requests of a trace")
	objects := flag.Int("objects", 50_000, "objects that are asked for by popularity")
	seeds := flag.Int("seeds", 3, "traces of each kind; rows are their means")
	first := flag.Uint64("seed", 0, "seed of the first one")
	flag.Parse()
	if flag.NArg() > 0 || *length < 1000 || *objects < 1000 || *seeds < 1 {
		log.Fatalf("arguments %q, -requests %d, -objects %d, -seeds %d: want flags only, a thousand at least, and a seed at least",
			flag.Args(), *length, *objects, *seeds)
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, introduction, strings.Join(append([]string{"go run ./hitratio"}, os.Args[1:]...), " "), *length, *objects, *seeds)
	var behind []string
	for i, t := range traces(*length, *objects, *first) {
		log.Print(t.name)
		for _, share := range []float64{0.002, 0.02, 0.1} {
			r := make(row, *seeds)
			each(*seeds, func(n int) { r[n] = compare(traces(*length, *objects, *first+uint64(n))[i], share) })
			fmt.Fprintln(&page, r)
			if less, _, _ := r.span(lessRequests); less < -aim {
				behind = append(behind, fmt.Sprintf("%s at %.1f %% (%+.1f)", t.name, 100*share, less))
			}
		}
	}
	if len(behind) == 0 {
		behind = []string{"none"}
	}
	fmt.Fprintf(&page, "\nRows more than two points of requests behind otter: %s.\n", strings.Join(behind, ", "))
	if *out == "-" {
		fmt.Print(page.String())
		return
	}
	if err := os.WriteFile(*out, page.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// each calls f for all numbers below n, on all cores.
func each(n int, f func(i int)) {
	var wait sync.WaitGroup
	cores := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range n {
		cores <- struct{}{}
		wait.Go(func() {
			defer func() { <-cores }()
			f(i)
		})
	}
	wait.Wait()
}

const introduction = `# Hit ratios under a bound on memory

By ` + "`%s`" + `: %d requests a trace, %d objects asked for by popularity, %d traces of each
kind from seeds of their own. Every row is the mean of its traces; behind the difference stand the least and the greatest.

Percent of requests that are hits, from an empty cache on; in brackets percent of bytes. An object weighs what edge accounts
for it, body and bookkeeping, under every policy; the cache is a share of what all objects of the trace weigh together.
edge and otter hash by seeds of their own: between runs of the same trace both vary by about a point.
The aim is to be at most two points of requests behind otter in every row.

- LRU: hashicorp/golang-lru over all bytes, one list
- otter: otter v2, W-TinyLFU by weight, maintained after every request
- edge: the store itself, 64 shards, asked through its handler
- bound: with equal sizes Belady's MIN, which knows the future; with unequal ones PFOO-U (Berger, Beckmann, Harchol-Balter 2018),
  which no policy can pass, and none may reach

| trace | cache | entries | LRU | otter | edge | edge − otter | least … greatest | bound |
| --- | --: | --: | --: | --: | --: | --: | --: | --: |
`

// comparison is of one trace and one size of cache.
type comparison struct {
	trace            *trace
	share            float64
	entries          int64
	lru, otter, edge result
	bound            float64
}

func compare(t *trace, share float64) comparison {
	weight := weights(t)
	capacity := int64(share * float64(t.bytes(weight)))
	c := comparison{trace: t, share: share, lru: plainLRU(t, weight, capacity), otter: otterCache(t, weight, capacity)}
	c.edge, c.entries = edgeStore(t, capacity)
	if t.equal {
		c.bound = clairvoyant(t, int(capacity/weight(0)))
	} else {
		c.bound = pfoo(t, weight, capacity)
	}
	return c
}

// row is the comparisons of traces of one kind.
type row []comparison

// aim is how many points edge may be behind.
const aim = 2

func lessRequests(c comparison) float64 { return c.edge.requests - c.otter.requests }
func lessBytes(c comparison) float64    { return c.edge.bytes - c.otter.bytes }

// span is the mean, the least and the greatest of a fact, in percent.
func (r row) span(of func(c comparison) float64) (mean, least, greatest float64) {
	least, greatest = math.Inf(1), math.Inf(-1)
	for _, c := range r {
		f := 100 * of(c)
		mean += f / float64(len(r))
		least, greatest = min(least, f), max(greatest, f)
	}
	return mean, least, greatest
}

func (r row) mean(of func(c comparison) float64) float64 {
	mean, _, _ := r.span(of)
	return mean
}

func (r row) String() string {
	equal := r[0].trace.equal
	show := func(of func(c comparison) result) string {
		text := fmt.Sprintf("%.1f", r.mean(func(c comparison) float64 { return of(c).requests }))
		if !equal {
			text += fmt.Sprintf(" (%.1f)", r.mean(func(c comparison) float64 { return of(c).bytes }))
		}
		return text
	}
	mean, least, greatest := r.span(lessRequests)
	less := fmt.Sprintf("%+.1f", mean)
	if !equal {
		less += fmt.Sprintf(" (%+.1f)", r.mean(lessBytes))
	}
	return fmt.Sprintf("| %s | %.1f %% | %.0f | %s | %s | %s | %s | %+.1f … %+.1f | %.1f |",
		r[0].trace.name, 100*r[0].share, r.mean(func(c comparison) float64 { return float64(c.entries) / 100 }),
		show(func(c comparison) result { return c.lru }), show(func(c comparison) result { return c.otter }),
		show(func(c comparison) result { return c.edge }), less, least, greatest,
		r.mean(func(c comparison) float64 { return c.bound }))
}
