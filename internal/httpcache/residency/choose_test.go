package residency

import "testing"

// listWith makes a list of objects of ten bytes that were used so often, oldest
// first.
func listWith(windowUses, mainUses []int) (l *List[*object], inWindow, inMain []*object) {
	l = New[*object](new(Past))
	l.sketch.grow(1000)
	add := func(p part, uses []int) (all []*object) {
		for i, n := range uses {
			o := &object{hash: hashOf(int(p)*100 + i), bytes: 10}
			l.put(o, p, uint32(int(p)*1000+i))
			for range n {
				l.sketch.see(o.hash)
			}
			all = append(all, o)
		}
		return all
	}
	inMain = add(probation, mainUses)
	return l, add(window, windowUses), inMain
}

func TestWhatGoesForRoom(t *testing.T) {
	const share = 0.1
	nine := []int{2, 2, 2, 2, 2, 2, 2, 2, 2}
	t.Run("an empty list: nothing", func(t *testing.T) {
		if s := Choose([]Bid[*object]{New[*object](new(Past)).Bid()}, share, 10); s.Admit != nil || s.Evict != nil {
			t.Errorf("%+v", s)
		}
	})
	t.Run("all in the window, room in the main part: the oldest moves on", func(t *testing.T) {
		l, window, _ := listWith([]int{1, 1, 1}, nil)
		if s := Choose([]Bid[*object]{l.Bid()}, share, 10); s.Evict != nil || s.Admit != window[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("full, a newcomer used less than what would go: it goes itself, and that is renewed", func(t *testing.T) {
		l, window, main := listWith([]int{1}, nine)
		if s := Choose([]Bid[*object]{l.Bid()}, share, 10); s.Admit != nil || s.Evict != window[0] || s.Renew != main[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("full, a newcomer used as often: it goes itself, or loops would flush all", func(t *testing.T) {
		l, window, _ := listWith([]int{2}, nine)
		if s := Choose([]Bid[*object]{l.Bid()}, share, 10); s.Admit != nil || s.Evict != window[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("full, a newcomer used more often: it comes in and the oldest goes", func(t *testing.T) {
		l, window, main := listWith([]int{3}, nine)
		if s := Choose([]Bid[*object]{l.Bid()}, share, 10); s.Admit != window[0] || s.Evict != main[0] || s.Renew != nil {
			t.Errorf("%+v", s)
		}
	})
	t.Run("used as often, but much smaller: it comes in", func(t *testing.T) {
		l, window, main := listWith([]int{2}, nine)
		bid := l.Bid()
		bid.victim.bytes = 1000
		if s := Choose([]Bid[*object]{bid}, share, 10); s.Admit != window[0] || s.Evict != main[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("room, but the newcomer is larger than what is worth more: it goes itself", func(t *testing.T) {
		l, window, _ := listWith([]int{1, 1, 1}, []int{2})
		bid := l.Bid()
		bid.candidate.bytes = 20 // of 40 bytes 36 are the main part's
		if s := Choose([]Bid[*object]{bid}, share, 10); s.Admit != nil || s.Evict != window[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("room, and the newcomer is as large: it comes in, used less or not", func(t *testing.T) {
		l, window, _ := listWith([]int{1, 1, 1}, []int{2})
		if s := Choose([]Bid[*object]{l.Bid()}, share, 10); s.Evict != nil || s.Admit != window[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("room, and the newcomer is larger but used more: it comes in", func(t *testing.T) {
		l, window, _ := listWith([]int{3, 1, 1}, []int{2})
		bid := l.Bid()
		bid.candidate.bytes = 20
		if s := Choose([]Bid[*object]{bid}, share, 10); s.Evict != nil || s.Admit != window[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a window with room for what comes: the main part gives", func(t *testing.T) {
		l, _, main := listWith([]int{3}, nine)
		if s := Choose([]Bid[*object]{l.Bid()}, 0.5, 10); s.Admit != nil || s.Evict != main[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("protected above its share: the oldest of it is put on probation", func(t *testing.T) {
		l, window, main := listWith([]int{1}, nine)
		for _, o := range main[:8] { // 80 of 90 bytes
			l.Use(o, 5000)
		}
		if s := Choose([]Bid[*object]{l.Bid()}, share, 10); s.Demote != main[0] || s.Evict != window[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("protected within its share: it stays as it is", func(t *testing.T) {
		l, _, main := listWith([]int{1}, nine)
		for _, o := range main[:7] {
			l.Use(o, 5000)
		}
		if s := Choose([]Bid[*object]{l.Bid()}, share, 10); s.Demote != nil {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a list with none on probation: what another has goes, older or not", func(t *testing.T) {
		hot, _, main := listWith([]int{1}, []int{9})
		hot.Use(main[0], 1)
		cold, window, victims := listWith([]int{3}, nine)
		for _, bids := range [][]Bid[*object]{{hot.Bid(), cold.Bid()}, {cold.Bid(), hot.Bid()}} {
			bids[0].candidate, bids[1].candidate = cold.Bid().candidate, cold.Bid().candidate
			if s := Choose(bids, share, 10); s.Admit != window[0] || s.Evict != victims[0] {
				t.Errorf("%+v", s)
			}
		}
	})
	t.Run("none on probation anywhere: the oldest of the protected", func(t *testing.T) {
		l, window, main := listWith([]int{4}, nine)
		for i, o := range main {
			l.Use(o, uint32(5000+i))
		}
		if s := Choose([]Bid[*object]{l.Bid()}, share, 10); s.Admit != window[0] || s.Evict != main[0] || s.Demote != nil {
			t.Errorf("%+v", s)
		}
	})
	t.Run("several lists: the oldest of all, whichever has it", func(t *testing.T) {
		young, _, _ := listWith([]int{1}, []int{2})
		for _, o := range young.All() {
			o.mark.used += 10_000
		}
		old, window, _ := listWith([]int{1}, []int{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2})
		if s := Choose([]Bid[*object]{young.Bid(), old.Bid()}, share, 10); s.Admit != nil || s.Evict != window[0] {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a clock that has turned over: older is still older", func(t *testing.T) {
		a := lot[*object]{there: true, used: 1<<32 - 5}
		b := lot[*object]{there: true, used: 3}
		if older(a, b) != a || older(b, a) != a {
			t.Error("want the one from before")
		}
	})
}
