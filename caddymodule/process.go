package caddymodule

import (
	"fmt"
	"os/exec"
	"strings"

	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/named"
)

// portPlaceholder stands in a command for the port that a pool gives each of
// its processes. It stays as it is when a configuration is loaded.
const portPlaceholder = "{port}"

// replaceInProcess fills in what a command and its variables take from the
// environment or a file.
func replaceInProcess(s named.Spec, replace func(*string)) {
	fill := func(texts []string) {
		for i := range texts {
			parts := strings.Split(texts[i], portPlaceholder)
			for j := range parts {
				replace(&parts[j])
			}
			texts[i] = strings.Join(parts, portPlaceholder)
		}
	}
	fill(s.Args)
	fill(s.Options["env"])
	fill(s.Options["dir"])
}

// missingPrograms names the commands of a pool that this machine does not have.
func missingPrograms(pool lb.Config) (problems []string) {
	for _, s := range pool.Discover {
		if s.Name != "process" || len(s.Args) == 0 {
			continue
		}
		if _, err := exec.LookPath(s.Args[0]); err != nil {
			problems = append(problems, fmt.Sprintf("discover process: %v: want a program of this machine", err))
		}
	}
	return problems
}
