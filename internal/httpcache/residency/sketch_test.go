package residency

import "testing"

func TestTheSketchNeverUnderestimates(t *testing.T) {
	s := newSketch()
	s.grow(1000)
	for name := range 1000 {
		for range name % most {
			s.see(hashOf(name))
		}
	}
	exact := 0
	for name := range 1000 {
		got := s.often(hashOf(name))
		if got < name%most {
			t.Fatalf("hash %d was seen %d times, estimated %d", name, name%most, got)
		}
		if got == name%most {
			exact++
		}
	}
	// Four of sixteen counters for each hash: a wrong estimate needs four
	// collisions with what was seen more often.
	if exact < 850 {
		t.Errorf("%d of 1000 estimates are exact: want nearly all", exact)
	}
}

func TestTheSketchKeepsWhatItKnowsWhenItGrows(t *testing.T) {
	s := newSketch()
	for range 7 {
		s.see(hashOf(1))
	}
	if n := s.wants(5000); n != 8*(8192-lineWords) {
		t.Errorf("%d bytes wanted for 5000 hashes: want 8192 words", n)
	}
	s.grow(5000)
	if n := s.often(hashOf(1)); n != 7 {
		t.Errorf("seen 7 times, estimated %d after growing", n)
	}
	if s.wants(5000) != 0 || s.bytes() != 8*(8192-lineWords) {
		t.Errorf("%d more wanted, %d taken", s.wants(5000), s.bytes())
	}
}

func TestFadingHalvesAllCounters(t *testing.T) {
	for halvings, want := range map[uint32]int{0: 12, 1: 6, 2: 3, 3: 1, 4: 0, 5: 0, 1 << 31: 0} {
		s := newSketch()
		for range 12 {
			s.see(hashOf(1))
		}
		s.fade(halvings)
		if n := s.often(hashOf(1)); n != want {
			t.Errorf("12 halved %d times: %d, want %d", halvings, n, want)
		}
	}
}

func TestCountersEndAtTheMost(t *testing.T) {
	s := newSketch()
	for range 1000 {
		s.see(hashOf(1))
	}
	if n := s.often(hashOf(1)); n != most {
		t.Errorf("%d: want %d", n, most)
	}
}
