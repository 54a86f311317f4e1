package workloads

import (
	"fmt"
)

const (
	// pages of the mix, few enough for all to be asked for while it warms up.
	pages = 1000
	// missing is the share of requests for what may not be stored.
	missing = 0.1
)

// mixScript asks for pages of three sizes, the n-th of them with a probability in
// proportion to 1/n (Zipf's law), and each tenth time for something that nobody has
// asked for before, and that says that it may not be stored. What is asked for in
// which order is the same for all peers.
const mixScript = `local sizes = {1024, 4096, 16384}
local known, n, run = {}, 0, os.time()
function init()
	math.randomseed(1)
	local sums, sum = {}, 0
	for page = 1, %[1]d do
		sum = sum + 1 / page
		sums[page] = sum
	end
	for i = 1, 65536 do
		local at, low, high = math.random() * sum, 1, %[1]d
		while low < high do
			local middle = math.floor((low + high) / 2)
			if sums[middle] < at then low = middle + 1 else high = middle end
		end
		known[i] = wrk.format("GET", "/objects/" .. sizes[low %% 3 + 1] .. "?page=" .. low)
	end
end
function request()
	n = n + 1
	if n %% %[2]d == 0 then return wrk.format("GET", "/objects/1024?fresh=" .. run .. "." .. n) end
	return known[n %% 65536 + 1]
end
`

func init() {
	register(Workload{
		Name:    "mix",
		About:   fmt.Sprintf("%d pages of 1, 4 and 16 KiB by Zipf's law, and one request in ten for what may not be stored, HTTP/1.1, 64 kept-alive connections", pages),
		Kind:    Mixed,
		Sizes:   []int{1 << 10, 4 << 10, 16 << 10},
		Metrics: closedLoopMetrics(Mixed),
		Measure: closedLoop{kind: Mixed, size: 1 << 10, script: fmt.Sprintf(mixScript, pages, int(1/missing))}.measure,
	})
}
