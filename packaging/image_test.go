package packaging

import (
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// image is the container image, built by buildah as Docker would build it: only the
// image with the compiler is one of ours, made of this machine's compiler and busybox.
var image imageOf

type imageOf struct {
	source string // what it is built of
	store  string // of buildah
	root   string // the image's files
	edge   string // its program, which runs here too
}

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "packaging")
	if err != nil {
		panic(err)
	}
	image.store = folder
	code := 1
	if err := buildImage(folder); err != nil {
		os.Stderr.WriteString("build the image: " + err.Error() + "\n")
	} else {
		code = m.Run()
	}
	if err := buildahRemove(folder); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

// inspected is what the image says of itself.
type inspected struct {
	Docker struct {
		RootFS struct {
			Layers []string `json:"diff_ids"`
		} `json:"rootfs"`
		Config struct {
			User, StopSignal string
			Entrypoint, Cmd  []string
			Volumes          map[string]struct{}
			ExposedPorts     map[string]struct{}
			Labels           map[string]string
			Healthcheck      struct{ Test []string }
		} `json:"config"`
	}
}

func inspect(t *testing.T, name string) (i inspected) {
	t.Helper()
	out, err := buildah("inspect", "--type", "image", name)
	if err == nil {
		err = json.Unmarshal([]byte(out), &i)
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestTheImageIsSmallAndHoldsNothingElse(t *testing.T) {
	var files []string
	var size int64
	err := filepath.WalkDir(image.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		files = append(files, strings.TrimPrefix(path, image.root))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/etc/edge/Caddyfile", "/etc/edge/backup/folder", "/etc/edge/backup/none", "/etc/edge/backup/s3", "/etc/edge/cdn/cloudflare", "/etc/edge/cdn/none", "/etc/edge/nodes/fleet", "/etc/edge/nodes/one",
		"/etc/group", "/etc/passwd", "/etc/ssl/certs/ca-certificates.crt", "/usr/bin/edge",
		"/usr/share/doc/edge/LICENSE", "/usr/share/doc/edge/THIRD-PARTY.txt",
	}
	slices.Sort(files)
	if !slices.Equal(files, want) {
		t.Errorf("the image has\n%q: want\n%q", files, want)
	}
	if size > 100<<20 {
		t.Errorf("%d MiB: want 100 at most", size>>20)
	}
	t.Logf("%d MiB", size>>20)
}

func TestTheImageSaysWhatItIs(t *testing.T) {
	config := inspect(t, imageName).Docker.Config
	if got := strings.Join(slices.Concat(config.Entrypoint, config.Cmd), " "); got != "/usr/bin/edge run --config /etc/edge/Caddyfile" {
		t.Errorf("runs %q", got)
	}
	if _, there := config.Volumes["/var/lib/edge"]; !there || len(config.Volumes) != 1 {
		t.Errorf("volumes %v: want /var/lib/edge alone, as Railway has one for each service", config.Volumes)
	}
	for _, port := range []string{"8080/tcp", "8443/tcp", "9180/tcp"} {
		if _, there := config.ExposedPorts[port]; !there {
			t.Errorf("ports %v: want %s", config.ExposedPorts, port)
		}
	}
	if config.Labels["org.opencontainers.image.version"] != imageVersion {
		t.Errorf("labels %v: want the version %s", config.Labels, imageVersion)
	}
}

// Another folder, another time: the same files, with the same times.
func TestTheImageIsReproducible(t *testing.T) {
	context := filepath.Join(t.TempDir(), "elsewhere")
	if out, err := exec.Command("cp", "-r", "--no-preserve=timestamps", image.source, context).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := buildFrom(context, "localhost/again"); err != nil {
		t.Fatal(err)
	}
	first, again := inspect(t, imageName).Docker.RootFS.Layers, inspect(t, "localhost/again").Docker.RootFS.Layers
	if !slices.Equal(first, again) || len(first) == 0 {
		t.Errorf("layers %q, built again %q: want the same", first, again)
	}
}

// What others get has the licences of all that is in it.
func TestTheImageHasTheLicences(t *testing.T) {
	for file, want := range map[string]string{"THIRD-PARTY.txt": thirdParty, "LICENSE": read(t, "../LICENSE")} {
		if got := read(t, filepath.Join(image.root, "usr/share/doc/edge", file)); got != want {
			t.Errorf("%s is %.40q: want %.40q", file, got, want)
		}
	}
}

// The image runs as its user, serves, answers its health check, and stops; its state
// stays in its volume.
func TestTheImageServes(t *testing.T) {
	app := newReplica(t, "v1")
	site, ops, admin := freeAddress(t), freeAddress(t), freeAddress(t)
	env := []string{
		"APP_ADDRESS=" + app, "EDGE_TOKEN=" + token, "SITE_ADDRESS=http://" + site, "HTTP_PORT=" + port(t, site), "OPS_PORT=" + port(t, ops),
		"EDGE_ADMIN=" + admin, "EDGE_SERVER=http://" + admin + "/edge",
	}
	config := inspect(t, imageName).Docker.Config
	c := newContainer(t, env)
	health := config.Healthcheck.Test
	if len(health) < 2 || health[0] != "CMD" {
		t.Fatalf("health check %q: want CMD and a command, as there is no shell", health)
	}
	if out, err := c.run(health[1:]...).CombinedOutput(); err == nil {
		t.Errorf("nothing runs, and the health check is content:\n%s", out)
	}
	running := c.start(slices.Concat(config.Entrypoint, config.Cmd)...)
	eventually(t, "a page", func() string {
		status, header, _ := get("http://" + site + "/contacts")
		if status == http.StatusOK && strings.Contains(header.Get("Cache-Status"), "edge; hit") {
			return ""
		}
		return header.Get("Cache-Status") + "\n" + running.log()
	})
	out, err := c.run(health[1:]...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "edge "+imageVersion+" (") {
		t.Errorf("%s: %v\n%s", health, err, out)
	}
	if status, _, body := get("http://" + ops + "/metrics"); status != http.StatusOK || !strings.Contains(body, "edge_requests_total{") {
		t.Errorf("metrics: %d\n%s", status, body)
	}
	if status, _, body := get("http://" + site + "/.edge/readyz"); status != http.StatusOK {
		t.Errorf("readyz: %d %s", status, body)
	}
	if users := running.users(); !slices.Equal(users, []string{"65532"}) {
		t.Errorf("edge runs as %q: want 65532", users)
	}
	if out, err := c.run("/usr/bin/edge", "stop", "--address", admin).CombinedOutput(); err != nil {
		t.Errorf("stop: %v\n%s", err, out)
	}
	running.wait()
	if log := running.log(); !strings.Contains(log, "shutdown complete") {
		t.Errorf("edge did not end in good order:\n%s", log)
	}
	if out, err := c.run("/usr/bin/edge", "version").CombinedOutput(); err != nil {
		t.Errorf("version: %v\n%s", err, out)
	}
}

func get(url string) (int, http.Header, string) {
	client := http.Client{Timeout: 20 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		return 0, http.Header{}, err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, r.Header, err.Error()
	}
	return r.StatusCode, r.Header, string(body)
}

// eventually waits until missing says nothing any more.
func eventually(t *testing.T, what string, missing func() string) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		said := missing()
		if said == "" {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: not in two minutes: %s", what, said)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

var listening = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// newReplica runs the sample application by the image's program, and gives its address.
func newReplica(t *testing.T, version string) string {
	t.Helper()
	c := exec.Command(image.edge, "sample", "--version", version)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := launch(t, c)
	var address string
	eventually(t, "a replica", func() string {
		address = listening.FindString(p.log())
		if address == "" {
			return "no address: " + p.log()
		}
		return ""
	})
	return address
}
