package main

import "sync"

// ledger knows what nobody may see any more. Each page has a number, which
// rises with each purge before it is given; an answer carries the number at
// which the origin began it. Who asks after a purge was acknowledged must get
// its number or a higher one.
type ledger struct {
	mu           sync.Mutex
	published    map[string]int
	acknowledged map[string]int
	tally        tally
}

// tally is what was seen.
type tally struct {
	// answers that came, hits among them, and those that were purged before
	// they were asked for.
	answers, hits, stale int
}

func newLedger() *ledger {
	return &ledger{published: make(map[string]int), acknowledged: make(map[string]int)}
}

// publish raises the page's number.
func (l *ledger) publish(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published[path]++
	return l.published[path]
}

// current is the number that an answer carries which is begun now.
func (l *ledger) current(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published[path]
}

// acknowledge notes that the purge given at a number is done. Purges of one
// page may be acknowledged in any order.
func (l *ledger) acknowledge(path string, number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged[path] = max(l.acknowledged[path], number)
}

// least is the lowest number that a request which begins now may get.
func (l *ledger) least(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acknowledged[path]
}

// judge counts an answer, and reports whether the request could have it.
func (l *ledger) judge(least, got int, hit bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.answers++
	if hit {
		l.tally.hits++
	}
	if got < least {
		l.tally.stale++
		return false
	}
	return true
}

func (l *ledger) total() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally
}
