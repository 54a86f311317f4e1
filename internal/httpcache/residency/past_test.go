package residency

import (
	"sync"
	"testing"
)

// On two lists of one store, what is used on one makes fade what the other knows.
func TestThePastFadesOnAllListsTogether(t *testing.T) {
	past := new(Past)
	quiet, busy := New[*object](past), New[*object](past)
	known := &object{hash: hashOf(1), bytes: 1}
	quiet.Add(known, 0)
	for range 11 {
		quiet.Use(known, 0)
	}
	if n := quiet.Bid().candidate.often; n != 12 {
		t.Fatalf("used 12 times, known %d times", n)
	}
	uses := 0
	for quiet.Bid().candidate.often > 6 {
		if uses++; uses > sample*fewest+2*reportEvery {
			t.Fatalf("nothing fades after %d uses of other residents: want it after %d", uses, sample*fewest)
		}
		o := &object{hash: hashOf(1000 + uses), bytes: 1}
		busy.Grow() // or its counters would soon be full
		busy.Add(o, 0)
		if busy.Len() > fewest/2 { // fewer than are counted at least
			busy.Remove(o)
		}
	}
	if uses < sample*fewest-20 {
		t.Errorf("faded after %d uses: want about %d", uses, sample*fewest)
	}
}

func TestThePastIsLongerWithMoreResidents(t *testing.T) {
	past := new(Past)
	past.residents.Store(1000)
	past.count(sample*1000 - 1)
	if past.halvings.Load() != 0 {
		t.Error("faded too early")
	}
	past.count(1)
	if past.halvings.Load() != 1 || past.seen.Load() != sample*1000/2 {
		t.Errorf("%d halvings, %d left: want one, and half of what was seen", past.halvings.Load(), past.seen.Load())
	}
}

func TestUsesThatAreCountedAtOnceAreAllCounted(t *testing.T) {
	const each = 10_000
	past := new(Past)
	past.residents.Store(1 << 40)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range each {
				past.count(1)
			}
		})
	}
	wait.Wait()
	if n := past.seen.Load(); n != 8*each {
		t.Errorf("%d counted: want %d", n, 8*each)
	}
}
