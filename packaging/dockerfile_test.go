package packaging

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const dockerfile = "docker/Dockerfile"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parsed is a Dockerfile as BuildKit reads it, and what its linter says.
func parsed(t *testing.T, text string) (stages []instructions.Stage, complaints []string) {
	t.Helper()
	result, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range result.Warnings {
		complaints = append(complaints, w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, detail string, _ []parser.Range) {
		complaints = append(complaints, rule+": "+detail)
	}})
	stages, _, err = instructions.Parse(result.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return stages, complaints
}

func TestBuildKitReadsTheDockerfileWithoutAComplaint(t *testing.T) {
	text := read(t, dockerfile)
	if _, complaints := parsed(t, text); len(complaints) > 0 {
		t.Errorf("complaints: %q", complaints)
	}
	if _, complaints := parsed(t, strings.Replace(text, "USER ", "MAINTAINER me\nUSER ", 1)); len(complaints) != 1 {
		t.Errorf("MAINTAINER, which is of old: complaints %q, want one", complaints)
	}
}

func TestTheFinalStageHasNobodyButEdge(t *testing.T) {
	stages, _ := parsed(t, read(t, dockerfile))
	final := stages[len(stages)-1]
	if final.BaseName != "scratch" {
		t.Errorf("final stage is from %s: want scratch", final.BaseName)
	}
	found := make(map[string]string)
	for _, command := range final.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			found["user"] = c.User
		case *instructions.StopSignalCommand:
			found["stop"] = c.Signal
		case *instructions.HealthCheckCommand:
			found["health"] = strings.Join(c.Health.Test, " ")
		case *instructions.RunCommand:
			t.Errorf("%s: the image has no shell", c.String())
		}
	}
	want := map[string]string{"user": "65532:65532", "stop": "SIGTERM", "health": "CMD /usr/bin/edge status"}
	if fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("%v: want %v", found, want)
	}
}

// The compiler is named to the patch, so that the same commit gives the same
// program, and is one that go.mod takes.
func TestTheCompilerIsThatOfGoMod(t *testing.T) {
	pinned := regexp.MustCompile(`(?m)^ARG GO_VERSION=(\d+\.\d+)\.(\d+)$`).FindStringSubmatch(read(t, dockerfile))
	least := regexp.MustCompile(`(?m)^go (\d+\.\d+)\.(\d+)$`).FindStringSubmatch(read(t, "../go.mod"))
	if pinned == nil || least == nil {
		t.Fatalf("GO_VERSION %q, go %q: want both to the patch", pinned, least)
	}
	if pinned[1] != least[1] || number(t, pinned[2]) < number(t, least[2]) {
		t.Errorf("GO_VERSION %s.%s: go.mod wants %s.%s or a later patch", pinned[1], pinned[2], least[1], least[2])
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// go.mod changes seldom, and its layer with the modules does so too, if nothing else
// is copied before.
func TestModulesAreALayerOfTheirOwn(t *testing.T) {
	stages, _ := parsed(t, read(t, dockerfile))
	var steps []string
	for _, command := range stages[0].Commands {
		switch c := command.(type) {
		case *instructions.CopyCommand:
			steps = append(steps, "copy "+strings.Join(c.SourcePaths, " "))
			for _, path := range c.SourcePaths {
				if _, err := os.Stat(filepath.Join("..", path)); err != nil {
					t.Errorf("COPY %s: %v", path, err)
				}
			}
		case *instructions.RunCommand:
			steps = append(steps, "run")
		}
	}
	if got := fmt.Sprint(steps); got != "[copy go.mod go.sum run copy . run]" {
		t.Errorf("%s: want go.mod and go.sum copied, modules fetched, the rest copied, then the build", got)
	}
}

// What the container is given to finish must be enough for edge's own end.
func TestTheImageSaysHowLongItsEndTakes(t *testing.T) {
	if end := ending(t, adapted(t, caddyfileOfImage, imageEnv(t))); !bytes.Contains([]byte(read(t, dockerfile)), fmt.Appendf(nil, "add up to %.0f s", end.Seconds())) {
		t.Errorf("announce, window and grace_period add up to %s, and the Dockerfile says otherwise", end)
	}
}
