package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ours are the commands that Caddy does not have.
var ours = []string{"purge", "deploy", "deploys", "drain", "handover", "status", "explain", "replay", "check", "demo", "sample", "standin"}

// flagsOf are the long flags that a command's help tells of.
func flagsOf(t *testing.T, name string) []string {
	t.Helper()
	r := command(t, nil, name, "--help")
	_, flags, found := strings.Cut(r.stdout, "\nFlags:\n")
	if r.code != 0 || !found {
		t.Fatalf("edge %s --help: exit %d\n%s%s", name, r.code, r.stdout, r.stderr)
	}
	return all(`(?m)^ +(?:-\w, )?(--[a-z-]+)`, flags)
}

func TestManualPagesTellOfEachCommandAndFlag(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "man8")
	if r := command(t, nil, "manpage", "--directory", folder); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	top := read(t, filepath.Join(folder, "edge.8"))
	for _, name := range ours {
		page, err := os.ReadFile(filepath.Join(folder, "edge-"+name+".8"))
		if err != nil {
			t.Errorf("edge %s has no page: %v", name, err)
			continue
		}
		if !strings.Contains(top, `edge-`+name+`(8)`) {
			t.Errorf("edge.8 does not refer to edge-%s(8)", name)
		}
		flags := flagsOf(t, name)
		if len(flags) < 2 {
			t.Errorf("edge %s has the flags %q: want more than --help", name, flags)
		}
		for _, flag := range flags {
			if !strings.Contains(string(page), `\fB`+flag+`\fP`) {
				t.Errorf("edge-%s.8 does not tell of %s", name, flag)
			}
		}
	}
	if page := read(t, filepath.Join(folder, "edge-purge.8")); !strings.Contains(page, "4  partial") {
		t.Error("edge-purge.8 does not tell the exit codes")
	}
}

// Caddy's commands are this binary's too: whoever types what their texts have must find
// edge, not a Caddy that may be there besides, without edge's modules.
func TestHelpNamesThisBinary(t *testing.T) {
	t.Parallel()
	help := command(t, nil, "help").stdout
	names := all(`(?m)^  ([a-z-]+) +[A-Z]`, help)
	if len(names) < 30 || !slices.Contains(names, "reverse-proxy") || !strings.Contains(help, "  $ edge run --config Caddyfile\n") {
		t.Fatalf("%q, of\n%s\nwant all commands, and an example", names, help)
	}
	folder := t.TempDir()
	if r := command(t, nil, "manpage", "--directory", folder); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	texts := map[string]string{"help": help, "start --help": command(t, nil, "start", "--help").stdout}
	pages, err := filepath.Glob(filepath.Join(folder, "*.8"))
	if err != nil || len(pages) < len(names) {
		t.Fatalf("%d pages, %v: want one for each of %q", len(pages), err, names)
	}
	for _, page := range pages {
		texts[filepath.Base(page)] = strings.ReplaceAll(read(t, page), "\\", "")
	}
	for name, text := range texts {
		if found := all(`(?i)(\bcaddy (?:`+strings.Join(names, "|")+`)\b.*)`, text); len(found) > 0 {
			t.Errorf("%s: %q: want edge", name, found)
		}
	}
	if !strings.Contains(texts["start --help"], "'edge run'") {
		t.Errorf("edge start --help:\n%s\nwant 'edge run' in it", texts["start --help"])
	}
}

func TestShellsCompleteEachCommandAndFlag(t *testing.T) {
	t.Parallel()
	completed := func(args ...string) (words []string) {
		r := command(t, nil, append([]string{"__complete"}, args...)...)
		if r.code != 0 {
			t.Fatalf("edge __complete %q: exit %d\n%s", args, r.code, r.stderr)
		}
		return all(`(?m)^([^\t\n]+)\t`, r.stdout)
	}
	commands := completed("")
	for _, name := range ours {
		if !slices.Contains(commands, name) {
			t.Errorf("edge <tab> does not offer %s, but %q", name, commands)
		}
		offered := completed(name, "--")
		for _, flag := range flagsOf(t, name) {
			if !slices.Contains(offered, flag) {
				t.Errorf("edge %s --<tab> does not offer %s, but %q", name, flag, offered)
			}
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r := command(t, nil, "completion", shell)
		if r.code != 0 || !strings.Contains(r.stdout, "__complete") {
			t.Errorf("edge completion %s: exit %d, %d bytes\n%s", shell, r.code, len(r.stdout), r.stderr)
		}
	}
}
