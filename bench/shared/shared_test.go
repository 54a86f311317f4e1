package main

import (
	"strings"
	"testing"
	"time"
)

func TestThePageSaysWhatWasMeasured(t *testing.T) {
	r := &row{way: ways[1], size: 2048, asked: 200, edge: 20 * time.Millisecond, redis: 10 * time.Millisecond, app: 0}
	for i := range 100 {
		r.took = append(r.took, time.Duration(i+1)*100*time.Microsecond) // sorted, 0.1 ms to 10 ms
	}
	// Of a hundred, the median is the 50th, and fifty take longer than 5 ms.
	const want = "| 2 KiB | Redis | 5.00 | 9.90 | 50.0% | 100 | 50 | 0 | 50.0% |"
	if text := page(options{rounds: 1, requests: 200, clients: 8}, "under test", []*row{r}); !strings.Contains(text, want) {
		t.Errorf("want %s in\n%s", want, text)
	}
}

func TestOptionsNameEveryMistake(t *testing.T) {
	err := options{rounds: 0, requests: 1, clients: 1_000_000}.check()
	if err == nil || !strings.Contains(err.Error(), "-rounds 0") || !strings.Contains(err.Error(), "-clients 1000000") || strings.Contains(err.Error(), "-requests") {
		t.Errorf("%v", err)
	}
}
