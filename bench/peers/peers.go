// Package peers says how each server that takes part is built and configured.
// Each peer is a file that registers itself in init.
package peers

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/edgegw/edge/bench/workloads"
)

// Peer is one server program.
type Peer struct {
	// Name is what -peers takes; "nginx" and "caddy" are what the others are
	// compared with.
	Name string
	// Build makes or finds the program, puts what it makes into dir and returns
	// the path.
	Build func(ctx context.Context, dir string) (binary string, err error)
	// Version says exactly what was built or found.
	Version func(ctx context.Context, binary string) (string, error)
	// Apart: it takes part only when -peers names it.
	Apart bool
	// Ways to run it, each a process of its own and a row of the tables.
	Ways []Way
}

// Way is one configuration of a peer.
type Way struct {
	// Name of the row, after the peer's.
	Name string
	// About says what of the peer is in use.
	About string
	// Kind of workload that this way takes part in.
	Kind workloads.Kind
	// Configure is pure: it says what to write and how to start.
	Configure func(Setup) Config
}

// Setup is what a configuration is made from.
type Setup struct {
	// Listen and Origin are host:port.
	Listen, Origin string
	// Dir belongs to the process alone: on memory if the machine has such a
	// folder. It has cert.pem and key.pem, and both in both.pem.
	Dir string
	// Secure: with TLS 1.3 and HTTP/2 beside HTTP/1.1.
	Secure bool
	// Quic: and HTTP/3.
	Quic bool
	// Sizes of the objects that will be asked for, in bytes.
	Sizes []int
	// Root says that the process will run as root.
	Root bool
}

// Config is how a process is started.
type Config struct {
	// File is the configuration's name in the setup's Dir, Text what it says.
	File, Text string
	// Args of the program.
	Args []string
	// Env is added to PATH, HOME and the XDG folders in Dir.
	Env []string
}

// secure is a way with TLS.
func secure(way Way) Way {
	plain := way.Configure
	way.Name += " TLS"
	way.About += ", over TLS 1.3"
	way.Kind = workloads.SecureHit
	way.Configure = func(s Setup) Config {
		s.Secure = true
		return plain(s)
	}
	return way
}

// quic is a way with TLS and QUIC.
func quic(way Way) Way {
	over := secure(way)
	configure := over.Configure
	over.Name = way.Name + " QUIC"
	over.About = way.About + ", over QUIC"
	over.Kind = workloads.QuicHit
	over.Configure = func(s Setup) Config {
		s.Quic = true
		return configure(s)
	}
	return over
}

// mixed is a way of hits, set up in the same manner, where some requests are none.
func mixed(way Way) Way {
	way.Name += " mix"
	way.Kind = workloads.Mixed
	return way
}

var registered = make(map[string]Peer)

// register is for init functions. A name registered twice is a programming
// mistake and panics.
func register(p Peer) {
	if _, taken := registered[p.Name]; taken {
		panic("peers: " + p.Name + " registered twice")
	}
	registered[p.Name] = p
}

// All lists the peers by name.
func All() []Peer {
	return slices.SortedFunc(maps.Values(registered), func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
}

// Build makes or finds the program of one peer, by its name, and says what it is.
func Build(ctx context.Context, name, dir string) (binary, version string, err error) {
	p, ok := registered[name]
	if !ok {
		return "", "", fmt.Errorf("there is no peer %q", name)
	}
	if binary, err = p.Build(ctx, dir); err != nil {
		return "", "", err
	}
	version, err = p.Version(ctx, binary)
	return binary, version, err
}

// BuildAll builds or finds several, and returns their binaries and versions by
// name.
func BuildAll(ctx context.Context, dir string, names ...string) (binaries, versions map[string]string, err error) {
	binaries, versions = make(map[string]string), make(map[string]string)
	for _, name := range names {
		if binaries[name], versions[name], err = Build(ctx, name, dir); err != nil {
			return nil, nil, err
		}
	}
	return binaries, versions, nil
}

// Environment of a process whose folder is dir: nothing of the caller's but
// PATH, so that a GOGC in someone's shell does not change the result.
func Environment(dir string, more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + dir,
		"XDG_CONFIG_HOME=" + dir,
		"XDG_DATA_HOME=" + dir,
	}, more...)
}

// Find looks a program up in PATH and where Debian keeps servers, which PATH
// leaves out for ordinary users.
func Find(program, debianPackage string) (string, error) {
	for _, candidate := range []string{program, filepath.Join("/usr/sbin", program)} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: run ../scripts/install-debian.sh %s", program, debianPackage)
}

// goBuild builds a Go package of the module in folder.
func goBuild(ctx context.Context, folder, pkg, binary string) (string, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-C", folder, "-trimpath", "-o", binary, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, errors.Join(err, ctx.Err()), strings.TrimSpace(string(out)))
	}
	return binary, nil
}

// builtFrom reads what a program in Go was built from, and with which Go.
func builtFrom(binary string) (*debug.BuildInfo, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read what %s was built from: %w", binary, err)
	}
	return info, nil
}

// versionAfter runs a program that tells its version, and takes the word after a
// beginning.
func versionAfter(ctx context.Context, beginning, binary, flag string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, flag).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", filepath.Base(binary), flag, err)
	}
	rest, found := strings.CutPrefix(string(out), beginning)
	version, _, ok := strings.Cut(rest, " ")
	if !found || !ok {
		return "", fmt.Errorf("%s %s: %q: want %s…", filepath.Base(binary), flag, out, beginning)
	}
	return version, nil
}
