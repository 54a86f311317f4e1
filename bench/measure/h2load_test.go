package measure

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

const h2loadClean = `starting benchmark...
spawning thread #0: 16 total client(s). Timing-based test with 0s of warm-up time and 2s of main duration for measurements.
Warm-up started for thread #0.
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Application protocol: h2

finished in 2.00s, 9000.50 req/s, 10.00MB/s
requests: 18001 total, 18257 started, 18001 done, 18000 succeeded, 1 failed, 1 errored, 0 timeout
status codes: 17990 2xx, 0 3xx, 10 4xx, 0 5xx
traffic: 20.00MB (20971520) total, 1.20MB (1258291) headers (space savings 30.00%), 18.00MB (18874368) data
`

func TestParseH2load(t *testing.T) {
	got, err := ParseH2load(h2loadClean)
	want := LoadResult{Requests: 18001, Errors: 1 + 11, Bytes: 20971520}
	if err != nil || got != want {
		t.Errorf("%+v, %v: want %+v", got, err, want)
	}
	for what, text := range map[string]string{
		"HTTP/1.1":   strings.Replace(h2loadClean, "protocol: h2", "protocol: http/1.1", 1),
		"no result":  "starting benchmark...\n",
		"no traffic": strings.Replace(h2loadClean, "traffic:", "", 1),
	} {
		if got, err := ParseH2load(text); err == nil {
			t.Errorf("%s: %+v: want an error", what, got)
		}
	}
}

func TestH2loadTimes(t *testing.T) {
	var log strings.Builder
	for range 98 {
		log.WriteString("1700000000000000\t200\t100\n")
	}
	log.WriteString("1700000000000001\t200\t9000\n1700000000000002\t200\t7000\n")
	p50, p99, err := h2loadTimes(bufio.NewScanner(strings.NewReader(log.String())))
	if err != nil || p50 != 100*time.Microsecond || p99 != 7*time.Millisecond {
		t.Errorf("%v, %v, %v: want 100µs and 7ms", p50, p99, err)
	}
	for _, text := range []string{"", "1 200\n", "1 200 x\n"} {
		if _, _, err := h2loadTimes(bufio.NewScanner(strings.NewReader(text))); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}
