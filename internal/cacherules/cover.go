package cacherules

import (
	"slices"
	"strings"
)

// coverLimit bounds the states that covered looks at. Past it the answer is
// no, so what covered reports is always true.
const coverLimit = 20_000

// place is a position in one of several patterns, seen as an automaton whose
// states are the gaps between its characters.
type place struct{ pattern, at int }

// covered reports whether every path that one matches is matched by some
// pattern of by. It walks one and by side by side, as automata, and looks for
// a path at whose end one accepts and nothing else does.
func covered(one pattern, by []pattern) bool {
	if slices.ContainsFunc(by, func(p pattern) bool { return p.form == everything }) {
		return true
	}
	patterns := append([]pattern{one}, by...)
	texts := make([]string, len(patterns))
	start := []place{}
	for i, p := range patterns {
		texts[i] = p.automaton()
		if i > 0 {
			start = append(start, closure(texts, place{i, 0})...)
		}
	}
	walk := coverWalk{texts: texts, letters: alphabet(texts), seen: map[string]bool{}}
	for _, first := range closure(texts, place{0, 0}) {
		// Every path begins with a slash (RFC 9112, 3.2.1).
		if next, ok := step(texts, first, '/'); ok {
			for _, p := range next {
				walk.push(p, stepAll(texts, start, '/'))
			}
		}
	}
	return walk.run()
}

// automaton writes a pattern with two kinds of stars: "*" does not cross a
// slash, and anyRun does. No pattern contains the control character.
func (p pattern) automaton() string {
	switch p.form {
	case everything:
		return anyRun
	case prefix:
		return p.text + anyRun
	case suffix:
		return anyRun + p.text
	case substring:
		return anyRun + p.text + anyRun
	}
	return p.text
}

const anyRun = "\x01"

type coverState struct {
	one    place
	others []place
}

type coverWalk struct {
	texts   []string
	letters []byte
	seen    map[string]bool
	queue   []coverState
}

func (w *coverWalk) push(one place, others []place) {
	key := make([]byte, 0, 4+8*len(others))
	for _, p := range append([]place{one}, others...) {
		key = append(key, byte(p.pattern), byte(p.pattern>>8), byte(p.at), byte(p.at>>8), byte(p.at>>16))
	}
	if !w.seen[string(key)] {
		w.seen[string(key)] = true
		w.queue = append(w.queue, coverState{one, others})
	}
}

func (w *coverWalk) run() bool {
	for len(w.queue) > 0 {
		state := w.queue[len(w.queue)-1]
		w.queue = w.queue[:len(w.queue)-1]
		ended := func(p place) bool { return p.at == len(w.texts[p.pattern]) }
		if ended(state.one) && !slices.ContainsFunc(state.others, ended) || len(w.seen) > coverLimit {
			return false
		}
		for _, letter := range w.letters {
			next, ok := step(w.texts, state.one, letter)
			if !ok {
				continue
			}
			others := stepAll(w.texts, state.others, letter)
			for _, p := range next {
				w.push(p, others)
			}
		}
	}
	return true
}

// alphabet is every character of the texts, the slash, and one character that
// stands for all that occur in none.
func alphabet(texts []string) []byte {
	var used [256]bool
	used['/'] = true
	for _, text := range texts {
		for i := range len(text) {
			used[text[i]] = true
		}
	}
	var letters []byte
	stranger := false
	for c := 0x02; c < len(used); c++ {
		isStranger := !used[c] && !stranger
		stranger = stranger || isStranger
		if c != '*' && (used[c] || isStranger) {
			letters = append(letters, byte(c))
		}
	}
	return letters
}

func isStar(c byte) bool { return c == '*' || c == anyRun[0] }

// closure is where a place leads without reading: past any stars.
func closure(texts []string, p place) []place {
	places := []place{p}
	for text := texts[p.pattern]; p.at < len(text) && isStar(text[p.at]); {
		p.at++
		places = append(places, p)
	}
	return places
}

// step is where a place leads by reading one letter.
func step(texts []string, p place, letter byte) ([]place, bool) {
	text := texts[p.pattern]
	if p.at == len(text) {
		return nil, false
	}
	switch c := text[p.at]; {
	case c == anyRun[0], c == '*' && letter != '/':
		return closure(texts, p), true
	case c == letter && !isStar(c):
		return closure(texts, place{p.pattern, p.at + 1}), true
	}
	return nil, false
}

// stepAll is step for a set; the result is sorted, so that equal sets have
// equal keys. A place past a star that crosses slashes outdoes every place
// before it in the same pattern, which keeps the sets small.
func stepAll(texts []string, from []place, letter byte) []place {
	var all []place
	for _, p := range from {
		next, _ := step(texts, p, letter)
		all = append(all, next...)
	}
	slices.SortFunc(all, func(a, b place) int {
		if a.pattern != b.pattern {
			return a.pattern - b.pattern
		}
		return a.at - b.at
	})
	all = slices.Compact(all)
	best := map[int]int{}
	for _, p := range all {
		if strings.HasPrefix(texts[p.pattern][p.at:], anyRun) {
			best[p.pattern] = p.at
		}
	}
	return slices.DeleteFunc(all, func(p place) bool {
		return p.at < best[p.pattern]
	})
}
