package caddymodule

import (
	"path"
	"reflect"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
)

// versions are edge's own, and that of the Caddy that it was built with.
func versions() (edge, caddyVersion string) {
	caddyVersion, _ = caddy.Version()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unversioned, caddyVersion
	}
	return versionOf(path.Dir(reflect.TypeFor[App]().PkgPath()), info), caddyVersion
}

// unversioned is what a build from a folder without version control is called. The
// linker may set it, as packaging/docker does.
var unversioned = "devel"

// versionOf finds a module's version in what the binary was built of. It is the
// main module, or a dependency of one that xcaddy wrote.
func versionOf(module string, info *debug.BuildInfo) string {
	for _, dep := range info.Deps {
		if dep.Path != module {
			continue
		}
		if dep.Replace != nil {
			dep = dep.Replace
		}
		return known(dep.Version)
	}
	if version := known(info.Main.Version); info.Main.Path == module && version != unversioned {
		return version
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if revision == "" || info.Main.Path != module {
		return unversioned
	}
	return revision + dirty
}

// known is the version unless the toolchain had none to give.
func known(version string) string {
	if version == "" || version == "(devel)" {
		return unversioned
	}
	return version
}
