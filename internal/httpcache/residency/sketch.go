package residency

import "math/bits"

// sketch estimates how often hashes were seen lately: a count-min sketch of
// four-bit counters, all halved once in a while so that the past fades, see Past
// (Einziger, Friedman, Manes: TinyLFU, 2017, 3.2 and 3.3). The four counters
// of a hash lie in one cache line. It takes a word for each hash that it is
// made for, and errs upwards only, until counters are full at fifteen.
type sketch struct {
	words []uint64 // sixteen counters each; the number of lines is a power of two
}

const (
	lineWords   = 8 // words in a cache line
	counterBits = 4
	most        = 1<<counterBits - 1
)

func newSketch() sketch { return sketch{words: make([]uint64, lineWords)} }

// grow makes the sketch large enough for n hashes. What it knows stays: a hash
// finds copies of its counters wherever it looks in the larger table.
func (s *sketch) grow(n int) {
	size := wordsFor(n)
	for len(s.words) < size {
		s.words = append(make([]uint64, 0, size), s.words...)
		for len(s.words) < size {
			s.words = append(s.words, s.words...)
		}
	}
}

func wordsFor(n int) int { return max(lineWords, 1<<bits.Len(uint(n-1))) }

// wants is how many bytes growing for n hashes would take more.
func (s *sketch) wants(n int) int64 { return int64(max(0, 8*(wordsFor(n)-len(s.words)))) }

// spots returns the line and, in its lowest bits, which counters of it.
func (s *sketch) spots(hash uint64) (line []uint64, choice uint64) {
	// The hash chose the shard already; multiplying spreads what is left
	// (Knuth, TAOCP 3, 6.4: the golden ratio's multiple).
	hash = (hash ^ hash>>32) * 0x9e3779b97f4a7c15
	lines := uint64(len(s.words) / lineWords)
	at := (hash >> 40) & (lines - 1) * lineWords
	return s.words[at : at+lineWords : at+lineWords], hash
}

// see counts one use, and reports that this has changed a counter.
func (s *sketch) see(hash uint64) (added bool) {
	line, choice := s.spots(hash)
	for range 4 {
		// Two words for each of the four counters, sixteen places in each.
		word, place := &line[choice&7], choice>>3&15*4
		if *word>>place&most < most {
			*word += 1 << place
			added = true
		}
		choice >>= 7
	}
	return added
}

// fade halves all counters so many times.
func (s *sketch) fade(halvings uint32) {
	if halvings >= counterBits {
		clear(s.words)
		return
	}
	left := most >> halvings * uint64(0x1111111111111111)
	for i := range s.words {
		s.words[i] = s.words[i] >> halvings & left
	}
}

// often is the estimate for a hash.
func (s *sketch) often(hash uint64) int {
	line, choice := s.spots(hash)
	least := uint64(most)
	for range 4 {
		least = min(least, line[choice&7]>>(choice>>3&15*4)&most)
		choice >>= 7
	}
	return int(least)
}

// bytes is what the sketch takes beyond its first line.
func (s *sketch) bytes() int64 { return int64(8 * (len(s.words) - lineWords)) }
