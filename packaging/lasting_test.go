package packaging

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// gatewayOf runs the image's program, with its configuration, here.
func gatewayOf(t *testing.T, env []string) *process {
	t.Helper()
	c := exec.Command(image.edge, "run", "--config", caddyfileOfImage)
	c.Env = env
	return launch(t, c)
}

// The Docker guide's backup and restore: the state is lost, comes back, and all pages
// are newer than anything that was purged.
func TestTheImagesBackupComesBack(t *testing.T) {
	site, admin, home := freeAddress(t), freeAddress(t), t.TempDir()
	env := []string{
		"HOME=" + home, "EDGE_STATE_DIR=" + filepath.Join(home, "state"), "APP_ADDRESS=" + newReplica(t, "v1"), "EDGE_TOKEN=" + token,
		"SITE_ADDRESS=http://" + site, "HTTP_PORT=" + port(t, site), "OPS_PORT=" + port(t, freeAddress(t)), "EDGE_ADMIN=" + admin, "EDGE_SERVER=http://" + admin + "/edge",
		"EDGE_BACKUP=folder", "BACKUP_FOLDER=" + filepath.Join(home, "backups"), "EDGE_BACKUP_KEY=" + newKey(t),
	}
	serves := func(p *process) {
		t.Helper()
		eventually(t, "a page", func() string {
			if status, _, body := get("http://" + site + "/contacts"); status != http.StatusOK {
				return body + p.log()
			}
			return ""
		})
	}
	say := func(args ...string) string {
		t.Helper()
		out, errs, code := edge(t, env, args...)
		if code != 0 {
			t.Fatalf("edge %q: exit %d\n%s%s", args, code, out, errs)
		}
		return out
	}
	generation := func() int {
		t.Helper()
		found := regexp.MustCompile(`generation (\d+)`).FindStringSubmatch(say("status"))
		if found == nil {
			t.Fatal("edge status tells no generation")
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	p := gatewayOf(t, env)
	serves(p)
	say("purge", "--tag", "pages", "--wait", "1m")
	before := generation()
	say("backup", "--config", caddyfileOfImage)
	if list := say("backup", "--list", "--config", caddyfileOfImage); !strings.Contains(list, "edge") {
		t.Errorf("no backup is listed:\n%s", list)
	}
	say("stop", "--address", admin)
	p.wait()
	if err := os.RemoveAll(filepath.Join(home, "state")); err != nil {
		t.Fatal(err)
	}
	say("restore", "--force", "--config", caddyfileOfImage)
	serves(gatewayOf(t, env))
	if after := generation(); before < 2 || after <= before+100_000 {
		t.Errorf("generation %d before, %d after the restore: want far above", before, after)
	}
}

// The systemd guide's sites on sockets that systemd's own tool hands over.
func TestTheSystemdGuidesSitesTakeTheSockets(t *testing.T) {
	text := block(t, "systemd.md", "caddyfile", "bind fd/4")
	for from, to := range map[string]string{
		"{\n\tservers {":     "{\n\tadmin off\n\tpersist_config off\n\tskip_install_trust\n\tservers {",
		"\tbind fd/4\n":      "\tbind fd/4\n\ttls internal\n",
		"\tedge_proxy app\n": "\trespond hello\n",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("the guide's sites have no %q:\n%s", from, text)
		}
		text = strings.Replace(text, from, to, 1)
	}
	config := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, secure := freeAddress(t), freeAddress(t)
	c := exec.Command("systemd-socket-activate", "-l", plain, "-l", secure, "-E", "HOME="+t.TempDir(), image.edge, "run", "--config", config)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := launch(t, c)
	eventually(t, "the socket", func() string {
		_, header, failed := get("http://" + plain + "/x")
		// The client follows, and finds nobody at the port of the name that it asked for.
		if strings.Contains(failed, "https://127.0.0.1/x") {
			return ""
		}
		return failed + header.Get("Location") + p.log()
	})
	eventually(t, "the certificate, and an answer", func() string {
		out, err := exec.Command("curl", "-sk", "-m", "30", "--resolve", "crm.example.com:"+port(t, secure)+":127.0.0.1", "https://crm.example.com:"+port(t, secure)+"/").CombinedOutput()
		if err != nil || string(out) != "hello" {
			return string(out) + p.log()
		}
		return ""
	})
}
