package packaging

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const (
	imageName    = "localhost/edge"
	imageVersion = "v1.2.0"
)

// buildah runs the Debian package's program, with a store of the test's own. It needs
// no daemon; its isolation is a chroot, with this machine's network.
func buildah(args ...string) (string, error) {
	c := exec.Command("buildah", append([]string{
		"--root", filepath.Join(image.store, "root"), "--runroot", filepath.Join(image.store, "run"), "--storage-driver", "vfs",
	}, args...)...)
	c.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot", "STORAGE_OPTS=")
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("buildah %s: %w\n%s%s", args[0], err, out, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// buildahRemove removes the store; some of its files belong to users that only buildah
// may remove.
func buildahRemove(folder string) error {
	for _, args := range [][]string{{"rm", "--all"}, {"rmi", "--all", "--force"}} {
		if _, err := buildah(args...); err != nil {
			return err
		}
	}
	return os.RemoveAll(folder)
}

// thirdParty stands in for the licences' texts, which scripts/release.sh gathers.
const thirdParty = "texts\n"

// buildImage builds the image as a release does.
func buildImage(folder string) error {
	source := filepath.Join(folder, "source")
	if out, err := exec.Command("cp", "-r", "..", source).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(source, "THIRD-PARTY.txt"), []byte(thirdParty), 0o644); err != nil {
		return err
	}
	image.source = source
	if err := compilerImage(filepath.Join(folder, "compiler")); err != nil {
		return err
	}
	if err := buildFrom(source, imageName); err != nil {
		return err
	}
	container, err := buildah("from", "--pull-never", imageName)
	if err != nil {
		return err
	}
	if image.root, err = buildah("mount", container); err != nil {
		return err
	}
	image.edge = filepath.Join(image.root, "usr/bin/edge")
	return nil
}

// goEnv are variables of this machine's compiler.
func goEnv(names ...string) ([]string, error) {
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	return strings.Split(strings.TrimSpace(string(out)), "\n"), err
}

// compilerImage makes what the Dockerfile builds with: a shell, certificates, and room
// for the compiler and its caches, which the build is lent.
func compilerImage(folder string) error {
	for _, name := range []string{"bin", "etc/ssl/certs", "usr/local/go", "go/pkg/mod", "root/.cache/go-build", "tmp"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return err
		}
	}
	for from, to := range map[string]string{"/bin/busybox": "bin/busybox", "/etc/ssl/certs/ca-certificates.crt": "etc/ssl/certs/ca-certificates.crt"} {
		if out, err := exec.Command("cp", "-L", from, filepath.Join(folder, to)).CombinedOutput(); err != nil {
			return fmt.Errorf("cp %s: %w\n%s", from, err, out)
		}
	}
	for _, name := range []string{"sh", "mkdir", "cp", "chmod"} {
		if err := os.Symlink("busybox", filepath.Join(folder, "bin", name)); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		return err
	}
	version := regexp.MustCompile(`(?m)^ARG GO_VERSION=(.+)$`).FindSubmatch(text)
	if version == nil {
		return fmt.Errorf("%s names no GO_VERSION", dockerfile)
	}
	container, err := buildah("from", "scratch")
	if err != nil {
		return err
	}
	if _, err := buildah("copy", container, folder, "/"); err != nil {
		return err
	}
	if _, err := buildah("config", "--env", "PATH=/usr/local/go/bin:/bin", "--env", "GOPATH=/go", "--env", "HOME=/root", container); err != nil {
		return err
	}
	_, err = buildah("commit", "--disable-compression", container, "docker.io/library/golang:"+string(version[1])+"-bookworm")
	return err
}

// buildFrom builds the image of a folder, as it was on one day.
func buildFrom(context, name string) error {
	env, err := goEnv("GOROOT", "GOMODCACHE", "GOCACHE")
	if err != nil {
		return err
	}
	_, err = buildah("build", "--pull=never", "--format", "docker", "--timestamp", "1790000000", "--disable-compression",
		"--build-arg", "VERSION="+imageVersion,
		"-v", env[0]+":/usr/local/go:ro", "-v", env[1]+":/go/pkg/mod", "-v", env[2]+":/root/.cache/go-build",
		"--ignorefile", filepath.Join(context, "packaging/docker/Dockerfile.dockerignore"),
		"-f", filepath.Join(context, "packaging", dockerfile), "-t", name, context)
	return err
}

// container is one of the image, with an environment.
type container struct {
	t    *testing.T
	name string
	env  []string
}

func newContainer(t *testing.T, env []string) container {
	t.Helper()
	name, err := buildah("from", "--pull-never", imageName)
	if err != nil {
		t.Fatal(err)
	}
	return container{t, name, env}
}

// run is a command in the container, not started yet.
func (c container) run(command ...string) *exec.Cmd {
	args := []string{"--root", filepath.Join(image.store, "root"), "--runroot", filepath.Join(image.store, "run"), "--storage-driver", "vfs", "run", "--isolation", "chroot"}
	for _, e := range c.env {
		args = append(args, "--env", e)
	}
	return exec.Command("buildah", append(append(args, c.name, "--"), command...)...)
}

func (c container) start(command ...string) *process {
	c.t.Helper()
	return launch(c.t, c.run(command...))
}

// process is a command that runs, with those that it has started.
type process struct {
	command *exec.Cmd
	ended   chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

// launch starts a command, and ends it and all that it started with the test.
func launch(t *testing.T, c *exec.Cmd) *process {
	t.Helper()
	p := &process{command: c, ended: make(chan struct{})}
	if c.SysProcAttr == nil {
		c.SysProcAttr = new(syscall.SysProcAttr)
	}
	c.SysProcAttr.Setpgid = true
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = write, write
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close() // the command has its own
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(p, read) // ends with the last process that writes
		_ = c.Wait()            // the log tells more than its exit
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // may be gone
		p.wait()
	})
	return p
}

// Write takes what the command says.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(text)
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func (p *process) wait() { <-p.ended }

// users are the real, effective and saved ids of the programs named edge in the
// process's group, each once, as the container counts them.
func (p *process) users() (ids []string) {
	entries, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, entry := range entries {
		text, err := os.ReadFile(entry)
		if err != nil || !bytes.HasPrefix(text, []byte("Name:\tedge\n")) {
			continue // it has ended, or is another program
		}
		pid := filepath.Base(filepath.Dir(entry))
		if group(pid) != p.command.Process.Pid {
			continue
		}
		for _, id := range strings.Fields(regexp.MustCompile(`(?m)^Uid:\t(.*)$`).FindStringSubmatch(string(text))[1]) {
			if id := within(filepath.Dir(entry), id); len(ids) == 0 || ids[len(ids)-1] != id {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// within is a user's id in the user namespace of a process: another than here if
// buildah was run by somebody without rights.
func within(process, id string) string {
	text, err := os.ReadFile(filepath.Join(process, "uid_map"))
	if err != nil {
		return id
	}
	var outer int
	if _, err := fmt.Sscan(id, &outer); err != nil {
		return id
	}
	for line := range strings.Lines(string(text)) {
		var inside, outside, count int
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err == nil && outer >= outside && outer-outside < count {
			return fmt.Sprint(outer - outside + inside)
		}
	}
	return id
}

func group(pid string) int {
	var n int
	if _, err := fmt.Sscan(pid, &n); err != nil {
		return 0
	}
	id, err := syscall.Getpgid(n)
	if err != nil {
		return 0
	}
	return id
}
