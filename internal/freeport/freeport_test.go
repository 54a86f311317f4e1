package freeport

import (
	"net"
	"sync"
	"testing"
)

func TestNobodyGetsAnAddressTwice(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]bool)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			list, err := Addresses(5)
			if err != nil || len(list) != 5 {
				t.Errorf("%v, %v: want five addresses", list, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, address := range list {
				if seen[address] {
					t.Errorf("%s was given twice", address)
				}
				seen[address] = true
				l, err := net.Listen("tcp", address)
				if err != nil {
					t.Error(err)
					continue
				}
				defer l.Close()
			}
		})
	}
	all.Wait()
}

func TestPortsLieBelowThoseThatTheSystemHandsOut(t *testing.T) {
	for text, want := range map[string]int{
		"32768\t60999\n": 32768,
		"20000 60000":    20000,
		"49152\t65535":   32768,
		"1024 65535":     32768, // which leaves nothing below
		"":               32768,
		"none":           32768,
	} {
		if got := topOf(text); got != want {
			t.Errorf("%q: ports end at %d, want %d", text, got, want)
		}
	}
}
