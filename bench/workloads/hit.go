package workloads

import "fmt"

func init() {
	registerHit("hit-1k", "1 KiB", 1<<10)
	registerHit("hit-16k", "16 KiB", 16<<10)
	registerHit("hit-256k", "256 KiB", 256<<10)
	for name, size := range map[string]int{"1k": 1 << 10, "16k": 16 << 10} {
		about := fmt.Sprintf("Cache hits, %d KiB, TLS 1.3, ", size>>10)
		register(Workload{
			Name:    "hit-" + name + "-tls",
			About:   about + "HTTP/1.1, 64 kept-alive connections",
			Kind:    SecureHit,
			Sizes:   []int{size},
			Metrics: closedLoopMetrics(SecureHit),
			Measure: closedLoop{kind: SecureHit, size: size}.measure,
		})
		for _, l := range []closedLoop{
			{kind: SecureHit, size: size, streams: 1, connections: 64}, {kind: SecureHit, size: size, streams: 16, connections: 16},
		} {
			register(Workload{
				Name:    fmt.Sprintf("hit-%s-h2x%d", name, l.streams),
				About:   about + fmt.Sprintf("HTTP/2, %d connections, with as many requests at once in each: %d", l.connections, l.streams),
				Kind:    SecureHit,
				Sizes:   []int{size},
				Metrics: closedLoopMetrics(SecureHit),
				Measure: l.measure,
			})
		}
	}
}

func registerHit(name, size string, bytes int) {
	register(Workload{
		Name:    name,
		About:   "Cache hits, " + size + ", HTTP/1.1, 64 kept-alive connections",
		Kind:    Hit,
		Sizes:   []int{bytes},
		Metrics: closedLoopMetrics(Hit),
		Measure: closedLoop{kind: Hit, size: bytes}.measure,
	})
}
