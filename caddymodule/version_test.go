package caddymodule

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	const ours = "example.com/edge"
	main := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Path: ours, Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "5e5ce862d067d2361d5943b17c5946c06a7be1c3"}
	dep := func(m debug.Module) *debug.BuildInfo {
		return &debug.BuildInfo{
			Main:     debug.Module{Path: "caddy", Version: "v9.9.9"},
			Settings: []debug.BuildSetting{revision},
			Deps:     []*debug.Module{{Path: "github.com/caddyserver/caddy/v2", Version: "v2.11.9"}, &m},
		}
	}
	for name, c := range map[string]struct {
		info *debug.BuildInfo
		want string
	}{
		"a release":                         {main("v1.4.0", revision), "v1.4.0"},
		"a commit, as the toolchain has it": {main("v0.0.0-20261123203806-5e5ce862d067+dirty", revision), "v0.0.0-20261123203806-5e5ce862d067+dirty"},
		"a commit that the toolchain did not make a version of": {main("(devel)", revision), "5e5ce862d067"},
		"a commit and changes":              {main("(devel)", revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "5e5ce862d067+dirty"},
		"a folder without version control":  {main(""), "devel"},
		"a dependency, as xcaddy builds":    {dep(debug.Module{Path: ours, Version: "v1.4.0"}), "v1.4.0"},
		"a dependency from a folder":        {dep(debug.Module{Path: ours, Version: "v0.0.0", Replace: &debug.Module{Path: "../edge"}}), "devel"},
		"another program's revision is not": {&debug.BuildInfo{Main: debug.Module{Path: "caddy"}, Settings: []debug.BuildSetting{revision}}, "devel"},
	} {
		if got := versionOf(ours, c.info); got != c.want {
			t.Errorf("%s: %s: want %s", name, got, c.want)
		}
	}
}
