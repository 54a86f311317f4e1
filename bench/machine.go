package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"

	"github.com/edgegw/edge/bench/machine"
	"github.com/edgegw/edge/bench/report"
)

// machineFacts says where the run was made, and by what.
func machineFacts(ctx context.Context) []report.Fact {
	return slices.Concat(machine.Facts(), machine.Known(report.Fact{Name: "wrk", Value: wrkVersion(ctx)}))
}

// wrkVersion reads what wrk -v prints before its usage. It exits with 1 then.
func wrkVersion(ctx context.Context) string {
	out, _ := exec.CommandContext(ctx, "wrk", "-v").CombinedOutput()
	words := strings.Fields(string(out))
	if len(words) < 2 || words[0] != "wrk" {
		return ""
	}
	return words[1]
}
