// Package machine says where a run was made.
package machine

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/edgegw/edge/bench/report"
)

// Facts of this machine. What cannot be found out is left out: no number
// depends on it.
func Facts() []report.Fact {
	return Known(
		report.Fact{Name: "Processors", Value: processors(match("/proc/cpuinfo", `(?m)^model name\s*: (.+)$`))},
		report.Fact{Name: "Memory", Value: memory(match("/proc/meminfo", `(?m)^MemTotal:\s+(\d+) kB$`))},
		report.Fact{Name: "System", Value: match("/etc/os-release", `(?m)^PRETTY_NAME="?([^"\n]+)`)},
		report.Fact{Name: "Kernel", Value: match("/proc/sys/kernel/osrelease", `(\S+)`)},
		report.Fact{Name: "Go", Value: runtime.Version()},
	)
}

// Load is how much the machine has to do now.
func Load() report.Fact {
	return report.Fact{Name: "Load average of the machine when this was written", Value: match("/proc/loadavg", `^(\S+)`)}
}

// Known leaves out facts without a value.
func Known(facts ...report.Fact) (known []report.Fact) {
	for _, f := range facts {
		if f.Value != "" {
			known = append(known, f)
		}
	}
	return known
}

// match is the first group of a pattern in a file, or "".
func match(file, pattern string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	if m := regexp.MustCompile(pattern).FindSubmatch(text); m != nil {
		return strings.TrimSpace(string(m[1]))
	}
	return ""
}

// processors names the model where the kernel does; not all architectures do.
func processors(model string) string {
	if model == "" {
		return strconv.Itoa(runtime.NumCPU())
	}
	return fmt.Sprintf("%d × %s", runtime.NumCPU(), model)
}

// memory turns the kernel's KiB, which it calls kB, into GiB.
func memory(kib string) string {
	n, err := strconv.ParseFloat(kib, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatFloat(n/(1<<20), 'f', 1, 64) + " GiB"
}
