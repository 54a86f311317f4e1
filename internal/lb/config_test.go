package lb

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
)

func TestTheZeroConfigTakesTheDocumentedDefaults(t *testing.T) {
	var c Config
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	got := c.withDefaults()
	want := Config{
		Policy:    named.Spec{Name: "least_time"},
		SlowStart: ms(10_000), Drain: ms(30_000),
		Health:    Health{Interval: ms(2000), Timeout: ms(1000), Passes: 1, Fails: 2},
		Breaker:   Breaker{FailureRatio: 0.5, MinRequests: 20, Window: ms(10_000), Open: ms(5000), Consecutive: 5},
		Eject:     Eject{Consecutive: 5, FailureRatio: 0.1, Latency: 5, MinRequests: 30, Base: ms(5000), Max: ms(300_000), MaxShare: 0.5},
		Retry:     Retry{Attempts: 2, Budget: 0.2, Body: 64 << 10},
		Hedge:     Hedge{Quantile: 0.95, Budget: 0.05},
		Queue:     Queue{MaxInflight: 200, Wait: ms(2000), Length: 1000},
		Transport: Transport{DialTimeout: ms(3000), BodyTimeout: ms(60_000), IdleTimeout: ms(4000), MaxIdle: 256},
	}
	gotText, wantText := string(must(json.Marshal(got))), string(must(json.Marshal(want)))
	if gotText != wantText {
		t.Errorf("defaults\n%s\nwant\n%s", gotText, wantText)
	}
}

func TestValidateReportsEveryMistakeAtOnce(t *testing.T) {
	c := Config{
		Discover: []named.Spec{{Name: "static", Args: []string{"app"}}, {Name: "bonjour"}},
		Health:   Health{Path: "healthz", ExpectBody: "a(b", VersionHeader: "X App", Passes: -1},
		Policy:   named.Spec{Name: "best"},
		Breaker:  Breaker{FailureRatio: 1.5},
		Eject:    Eject{FailureRatio: 2, Latency: -2, Base: ms(600_000)},
		Retry:    Retry{Attempts: 9},
		Drain:    -1,
		Queue:    Queue{MaxInflight: -2},
		Transport: Transport{
			ServerName: "app.test",
		},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("no mistake found")
	}
	for _, part := range []string{
		`address "app": want host:port`, `unknown name "bonjour": want one of `,
		`health path "healthz": want a path that begins with /`, `health expect_body "a(b": want a regular expression`, `health version_header "X App"`,
		`health passes -1: want a number from 0 to 100`, `unknown name "best": want one of `,
		`eject failure_ratio 2`, `eject latency -2`, `eject max 5m0s: want at least base, 10m0s`,
		`breaker failure_ratio 1.5`, `retry attempts 9: want a number from -1 to 5`, `drain -1ns`, `queue max_inflight -2`,
		`server_name, ca_file and unsafe_skip_verify want tls`,
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("lacks %q in:\n%v", part, err)
		}
	}
}

func TestValidateChecksTheCAFile(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, part := range map[string]string{empty: "holds no certificate", empty + ".gone": "no such file"} {
		err := Config{Transport: Transport{TLS: true, CAFile: path}}.Validate()
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("ca_file %s: %v: want %q", path, err, part)
		}
	}
}

func TestConfigReadsWhatItWrites(t *testing.T) {
	c := testConfig()
	c.Discover = []named.Spec{{Name: "static", Args: []string{"127.0.0.1:1"}}}
	text := must(json.Marshal(c))
	var back Config
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if again := must(json.Marshal(back)); string(again) != string(text) {
		t.Errorf("%s\nbecame\n%s", text, again)
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.7:3000":                 "10.0.0.7:3000",
		"[FD00:0::7]:3000":              "[fd00::7]:3000",
		"[::ffff:10.0.0.7]:3000":        "10.0.0.7:3000",
		"App-1.Internal:080":            "app-1.internal:80",
		"my_app:65535":                  "my_app:65535",
		"10.0.0.7":                      "",
		":3000":                         "",
		"app:0":                         "",
		"app:65536":                     "",
		"app:http":                      "",
		"http://app:3000":               "",
		"a b:1":                         "",
		"app..x:1":                      "",
		strings.Repeat("a", 254) + ":1": "",
		"[fe80::1%eth0]:80":             "[fe80::1%eth0]:80",
	} {
		got, err := ParseAddress(text)
		if (err == nil) != (want != "") || string(got) != want {
			t.Errorf("%q: %q, %v: want %q", text, got, err, want)
		}
	}
}

// FuzzParseAddress: what is accepted is canonical, and can be taken apart.
func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"a:1", "[::1]:80", "10.0.0.1:65535", "[fe80::1%a]:1", "-:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := ParseAddress(text)
		if err != nil {
			return
		}
		if again, err := ParseAddress(string(address)); err != nil || again != address {
			t.Errorf("%q became %q, which becomes %q, %v", text, address, again, err)
		}
		if r := newReplica("app", address); r.host == "" || r.port == "" {
			t.Errorf("%q: host %q, port %q", address, r.host, r.port)
		}
	})
}

// FuzzAddressFile: a file is believed whole or not at all.
func FuzzAddressFile(f *testing.F) {
	for _, seed := range []string{"a:1\nb:2 # two\n", "#\n\n", "a:1\nnonsense\n", "\r\na:1\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parseAddressFile("f", text)
		if err != nil {
			return
		}
		for _, address := range set {
			if again, err := ParseAddress(string(address)); err != nil || again != address {
				t.Errorf("%q yields %q", text, address)
			}
		}
	})
}

func TestBackoffDoublesFromASecondToHalfAMinute(t *testing.T) {
	want := []time.Duration{1, 2, 4, 8, 16, 30, 30}
	for i, seconds := range want {
		if got := backoff(i + 1); got != seconds*time.Second {
			t.Errorf("failure %d: %s: want %ds", i+1, got, seconds)
		}
	}
}
