package report

import "time"

// Of each like the first report goes out, and some more while they are few: a
// token bucket for each.
const (
	burst    = 5                // reports of a like at once
	refill   = time.Minute      // for one more
	maxLikes = 512              // likes that are told apart
	idle     = 10 * time.Minute // after which a like is forgotten, if room is needed
)

// flood thins out what comes again and again. Its owner holds the lock.
type flood struct {
	buckets map[string]*bucket
}

type bucket struct {
	tokens     float64
	filled     time.Time // when tokens were reckoned last
	suppressed int       // since the last one that passed
}

// pass says whether a report of this like may go out at now, and whether it is
// the first of it. Where there are too many likes, the newcomers of a kind share
// one bucket.
func (f *flood) pass(now time.Time, kind Kind, like string) (pass, first bool) {
	if f.buckets == nil {
		f.buckets = make(map[string]*bucket)
	}
	b, known := f.buckets[like]
	if !known && len(f.buckets) >= maxLikes {
		f.makeRoom(now)
	}
	if !known && len(f.buckets) >= maxLikes {
		like = "others of " + string(kind)
		b, known = f.buckets[like]
	}
	if !known {
		b = &bucket{tokens: burst, filled: now}
		f.buckets[like] = b
	}
	b.tokens = min(burst, b.tokens+float64(now.Sub(b.filled))/float64(refill))
	b.filled = now
	if b.tokens < 1 {
		b.suppressed++
		return false, false
	}
	b.tokens--
	return true, !known
}

// taken is how many of this like were held back since the last that passed.
func (f *flood) taken(like string) int {
	b, known := f.buckets[like]
	if !known {
		return 0
	}
	n := b.suppressed
	b.suppressed = 0
	return n
}

// forget makes the next report of this like the first again.
func (f *flood) forget(like string) { delete(f.buckets, like) }

func (f *flood) makeRoom(now time.Time) {
	for like, b := range f.buckets {
		if now.Sub(b.filled) > idle {
			delete(f.buckets, like)
		}
	}
}
