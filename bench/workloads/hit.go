package workloads

func init() {
	registerHit("hit-1k", "1 KiB", 1<<10)
	registerHit("hit-16k", "16 KiB", 16<<10)
	registerHit("hit-256k", "256 KiB", 256<<10)
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
