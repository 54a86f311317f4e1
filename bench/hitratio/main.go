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
	"os"
	"strings"
)

func main() {
	log.SetFlags(log.Ltime)
	out := flag.String("out", "-", "`file` to write; - for standard output")
	length := flag.Int("requests", 400_000, "requests of a trace")
	objects := flag.Int("objects", 50_000, "objects that are asked for by popularity")
	flag.Parse()
	if flag.NArg() > 0 || *length < 1000 || *objects < 1000 {
		log.Fatalf("arguments %q, -requests %d, -objects %d: want flags only, and a thousand at least", flag.Args(), *length, *objects)
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, introduction, strings.Join(append([]string{"go run ./hitratio"}, os.Args[1:]...), " "), *length, *objects)
	for _, t := range traces(*length, *objects) {
		log.Print(t.name)
		for _, share := range []float64{0.002, 0.02, 0.1} {
			fmt.Fprintln(&page, compare(t, share).row())
		}
	}
	if *out == "-" {
		fmt.Print(page.String())
		return
	}
	if err := os.WriteFile(*out, page.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

const introduction = `# Hit ratios under a bound on memory

By ` + "`%s`" + `: %d requests a trace, %d objects asked for by popularity.

Percent of requests that are hits, from an empty cache on; in brackets percent of bytes. An object weighs what edge accounts
for it, body and bookkeeping, under every policy; the cache is a share of what all objects of the trace weigh together.
edge and otter hash by seeds of their own: between runs of the same trace both vary by about a point.

- LRU: hashicorp/golang-lru over all bytes, one list
- otter: otter v2, W-TinyLFU by weight, maintained after every request
- edge: the store itself, 64 shards, asked through its handler
- bound: with equal sizes Belady's MIN, which knows the future; with unequal ones PFOO-U (Berger, Beckmann, Harchol-Balter 2018),
  which no policy can pass, and none may reach

| trace | cache | entries | LRU | otter | edge | edge − otter | bound |
| --- | --: | --: | --: | --: | --: | --: | --: |
`

// comparison is one row.
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

func (c comparison) row() string {
	show := func(r result) string {
		if c.trace.equal {
			return fmt.Sprintf("%.1f", 100*r.requests)
		}
		return fmt.Sprintf("%.1f (%.1f)", 100*r.requests, 100*r.bytes)
	}
	less := fmt.Sprintf("%+.1f", 100*(c.edge.requests-c.otter.requests))
	if !c.trace.equal {
		less += fmt.Sprintf(" (%+.1f)", 100*(c.edge.bytes-c.otter.bytes))
	}
	return fmt.Sprintf("| %s | %.1f %% | %d | %s | %s | %s | %s | %.1f |",
		c.trace.name, 100*c.share, c.entries, show(c.lru), show(c.otter), show(c.edge), less, 100*c.bound)
}
