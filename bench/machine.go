package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/edgegw/edge/bench/report"
)

// machineFacts says where the run was made. What cannot be found out is left
// out: no number depends on it.
func machineFacts(ctx context.Context) []report.Fact {
	facts := []report.Fact{
		{Name: "Processors", Value: processors(match("/proc/cpuinfo", `(?m)^model name\s*: (.+)$`))},
		{Name: "Memory", Value: memory(match("/proc/meminfo", `(?m)^MemTotal:\s+(\d+) kB$`))},
		{Name: "System", Value: match("/etc/os-release", `(?m)^PRETTY_NAME="?([^"\n]+)`)},
		{Name: "Kernel", Value: match("/proc/sys/kernel/osrelease", `(\S+)`)},
		{Name: "Go", Value: runtime.Version()},
		{Name: "wrk", Value: wrkVersion(ctx)},
	}
	var known []report.Fact
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

// wrkVersion reads what wrk -v prints before its usage. It exits with 1 then.
func wrkVersion(ctx context.Context) string {
	out, _ := exec.CommandContext(ctx, "wrk", "-v").CombinedOutput() // as above
	words := strings.Fields(string(out))
	if len(words) < 2 || words[0] != "wrk" {
		return ""
	}
	return words[1]
}
