package workloads

func init() {
	registerPass("pass-1k", "1 KiB", 1<<10)
	registerPass("pass-1m", "1 MiB", 1<<20)
}

func registerPass(name, size string, bytes int) {
	register(Workload{
		Name:    name,
		About:   "Pass-through, " + size + ", HTTP/1.1, 64 kept-alive connections",
		Kind:    Pass,
		Sizes:   []int{bytes},
		Metrics: closedLoopMetrics(Pass),
		Measure: closedLoop{kind: Pass, size: bytes}.measure,
	})
}
