package workloads

import "github.com/edgegw/edge/bench/measure"

func init() {
	const size, body = 1 << 10, 16 << 10
	register(Workload{
		Name:    "post-16k",
		About:   "Pass-through, POSTs of 16 KiB answered with 1 KiB, HTTP/1.1, 64 kept-alive connections",
		Kind:    Pass,
		Sizes:   []int{size},
		Metrics: closedLoopMetrics(Pass),
		Measure: closedLoop{kind: Pass, size: size, script: measure.Posts(body)}.measure,
	})
}
