package workloads

import "fmt"

func init() {
	for _, o := range []struct {
		name, words string
		size        int
	}{{"1k", "1 KiB", 1 << 10}, {"16k", "16 KiB", 16 << 10}, {"256k", "256 KiB", 256 << 10}, {"4m", "4 MiB", 4 << 20}} {
		name, size := o.name, o.size
		about := "Cache hits, " + o.words + ", TLS 1.3, "
		register(Workload{
			Name:    "hit-" + name,
			About:   "Cache hits, " + o.words + ", HTTP/1.1, 64 kept-alive connections",
			Kind:    Hit,
			Sizes:   []int{size},
			Metrics: closedLoopMetrics(Hit),
			Measure: closedLoop{kind: Hit, size: size}.measure,
		})
		register(Workload{
			Name:    "hit-" + name + "-tls",
			About:   about + "HTTP/1.1, 64 kept-alive connections",
			Kind:    SecureHit,
			Sizes:   []int{size},
			Metrics: closedLoopMetrics(SecureHit),
			Measure: closedLoop{kind: SecureHit, size: size}.measure,
		})
		for _, l := range []closedLoop{
			{kind: QuicHit, size: size, streams: 1, connections: 64}, {kind: QuicHit, size: size, streams: 16, connections: 16},
			{kind: SecureHit, size: size, streams: 1, connections: 64}, {kind: SecureHit, size: size, streams: 16, connections: 16},
		} {
			if size > 1<<20 && (l.streams > 1 || l.kind == QuicHit) {
				continue // a sample would be over before the first large bodies are there
			}
			version := 2
			if l.kind == QuicHit {
				version = 3
			}
			register(Workload{
				Name:    fmt.Sprintf("hit-%s-h%dx%d", name, version, l.streams),
				About:   about + fmt.Sprintf("HTTP/%d, %d connections, with as many requests at once in each: %d", version, l.connections, l.streams),
				Kind:    l.kind,
				Sizes:   []int{size},
				Metrics: closedLoopMetrics(l.kind),
				Measure: l.measure,
			})
		}
	}
}
