package workloads

func init() {
	const size = 1 << 10
	register(Workload{
		Name:    "pass-1k",
		About:   "Pass-through, 1 KiB, HTTP/1.1, 64 kept-alive connections",
		Kind:    Pass,
		Sizes:   []int{size},
		Metrics: closedLoopMetrics(Pass),
		Measure: closedLoop{kind: Pass, size: size}.measure,
	})
}
