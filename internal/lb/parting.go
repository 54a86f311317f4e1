package lb

import "time"

const (
	// finest is the shortest pause between two moments at which connections part.
	finest = 10 * time.Millisecond

	// otherwise is how soon to look again when there is none: a request under
	// way may still become one.
	otherwise = 100 * time.Millisecond
)

// parting is a time over which connections part, one after the other, so that
// their clients do not all come back at once.
type parting struct {
	next time.Time // when the next one does
	ends time.Time // when all have been asked
}

// newParting begins at a moment of the first pause that chance, from 0 to 1,
// names: several that begin at once are not to go in step.
func newParting(left int, now, ends time.Time, chance float64) parting {
	pause := ends.Sub(now) / time.Duration(max(1, left))
	return parting{next: now.Add(time.Duration(chance * float64(pause))), ends: ends}
}

// due is how many of those that are left part now, and when to look again.
func (s *parting) due(left int, now time.Time) (n int, again time.Time) {
	switch {
	case left == 0:
		return 0, now.Add(otherwise)
	case !now.Before(s.ends):
		return left, now.Add(otherwise)
	case now.Before(s.next):
		return 0, s.next
	}
	remaining := s.ends.Sub(now)
	pause := max(finest, remaining/time.Duration(left))
	n = int((int64(left)*int64(pause) + int64(remaining) - 1) / int64(remaining)) // rounded up
	s.next = now.Add(pause)
	return min(n, left), s.next
}
