package residency

import "sync/atomic"

// Past makes what was seen fade from the sketches of all lists together, after
// so many uses of all residents. A list by itself sees too little of the
// traffic: what nobody asks for any more would stay popular on one whose other
// residents are quiet.
//
// It takes no lock, and all methods may be called concurrently: lists count for
// themselves, report now and then, and halve their counters when they next look
// at them.
type Past struct {
	residents atomic.Int64
	seen      atomic.Int64  // since the counters were halved, half of what was before
	halvings  atomic.Uint32 // so many times
}

const (
	// sample is how many times as many uses as there are residents make the past
	// fade (TinyLFU, 3.3: more is slower to forget, less is less exact). Ten is
	// usual; with seven what is new fares better, and bench/hitratio shows
	// nothing that fares worse.
	sample = 7
	// fewest residents are counted in a store that has less.
	fewest = 64
	// reportEvery is how many uses a list sees between two reports.
	reportEvery = 8
)

// count adds uses that a list has seen.
func (p *Past) count(uses int64) {
	seen := p.seen.Add(uses)
	// If another list counts meanwhile, that one finds the same.
	if seen >= sample*max(p.residents.Load(), fewest) && p.seen.CompareAndSwap(seen, seen/2) {
		p.halvings.Add(1)
	}
}
