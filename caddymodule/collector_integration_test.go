package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// monitoringPage reads a file of docs/monitoring, with other paths in it.
func monitoringPage(t *testing.T, name string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs/monitoring", name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("%s: %s is not in it", name, replace[i])
		}
	}
	return strings.NewReplacer(replace...).Replace(string(text))
}

// A real rsyslogd carries the log of a real gateway, both as the pages have them.
func TestARecordReachesTheCollectorAndTellsNothingPersonal(t *testing.T) {
	folder := t.TempDir()
	log, collected := filepath.Join(folder, "access.log"), filepath.Join(folder, "collected.json")
	config := filepath.Join(folder, "rsyslog.conf")
	text := monitoringPage(t, "rsyslog.conf", "/var/spool/rsyslog", folder, "/var/log/edge/access.log", log, "/var/log/edge/collected.json", collected)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("rsyslogd", "-N1", "-f", config).CombinedOutput(); err != nil {
		t.Fatalf("rsyslogd does not take the configuration (make test installs rsyslog): %v\n%s", err, out)
	}
	collector := exec.Command("rsyslogd", "-n", "-f", config, "-i", filepath.Join(folder, "pid"))
	collector.Stderr = os.Stderr
	if err := collector.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(collector) })

	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: planted})
		w.Header().Set("X-Debug", planted)
		fmt.Fprint(w, "page")
	})
	e := newEdge(t)
	full := e.caddyfile(staticPool(address), pagesSite)
	own := fmt.Sprintf("log {\n\t\toutput file %q\n\t}", e.accessLog)
	if !strings.Contains(full, own) {
		t.Fatalf("the site has no log in %s", full)
	}
	if err := e.loadText(strings.Replace(full, own, monitoringPage(t, "log.caddyfile", "/var/log/edge/access.log", log), 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	asked := time.Now()
	id := e.get("/contacts?name="+planted, plantedFields...).Header.Get("X-Request-Id")
	var record struct {
		RequestID string `json:"request_id"`
		Rule      string
		Status    int
		Request   struct {
			URI      string
			ClientIP string `json:"client_ip"`
		}
	}
	within(t, time.Minute, "the collector has the record", func() bool {
		text, _ := os.ReadFile(collected) // it is not there before the first record
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, id) && json.Unmarshal([]byte(line), &record) == nil {
				return true
			}
		}
		return false
	})
	t.Logf("the record was found after %s", time.Since(asked).Round(time.Millisecond))
	if record.RequestID != id || record.Rule != "page /*" || record.Status != http.StatusOK || record.Request.URI != "/contacts?removed" || record.Request.ClientIP != "127.0.0.0" {
		t.Errorf("the record is %+v", record)
	}
	for _, file := range []string{log, collected} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{planted, "203.0.113.77", testToken, "Browser"} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%q is in %s: %s", secret, filepath.Base(file), text)
			}
		}
	}
}
