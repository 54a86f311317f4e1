package httpcache

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// Hot is a stored answer, as it can be asked for again.
type Hot struct {
	URL string
	// Header are the request fields that chose it among its variants.
	Header http.Header
	// Uses is how often it was found.
	Uses uint64
}

// Hottest lists up to n answers in memory that a soft purge has made stale, the
// most wanted first. Left out are those that depend on who asks, and those
// whose request said one thing to rules and another to the origin.
func (s *Store) Hottest(n int) []Hot {
	var hot []Hot
	for i := range s.shards {
		for _, one := range s.shards[i].used() {
			if found, _ := s.fence.judge(one.entry.provenance(), one.entry.began); found != softPurged {
				continue
			}
			if url, plain := keyURL(one.entry.key()); plain && shareable(one.entry.vary()) {
				hot = append(hot, Hot{URL: url, Header: one.entry.chosenBy(), Uses: uint64(one.uses)})
			}
		}
	}
	slices.SortFunc(hot, func(a, b Hot) int { return cmp.Or(cmp.Compare(b.Uses, a.Uses), strings.Compare(a.URL, b.URL)) })
	return hot[:min(n, len(hot))]
}

type usedEntry struct {
	entry *entry
	uses  uint32
}

// used is a copy of the entries, so that they are judged without the lock.
func (sh *shard) used() []usedEntry {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var all []usedEntry
	for _, e := range sh.index {
		for ; e != nil; e = e.next {
			all = append(all, usedEntry{e, e.uses})
		}
	}
	return all
}

// shareable reports that nothing personal chose an answer.
func shareable(vary []varied) bool {
	return !slices.ContainsFunc(vary, func(v varied) bool { return v.present && (v.name == "Cookie" || v.name == "Authorization") })
}

func (e *entry) chosenBy() http.Header {
	h := make(http.Header)
	for _, v := range e.vary() {
		if v.present {
			h[v.name] = []string{v.value}
		}
	}
	return h
}

// keyURL is the URL of a key, if there is no more to it: see appendKey.
func keyURL(key string) (url string, plain bool) {
	var parts [5]string // scheme, host, path, query, target as seen
	rest := key[1:]
	for i := range parts {
		parts[i], rest = cutPart(rest)
	}
	if parts[4] != "" || rest != "" {
		return "", false
	}
	url = parts[0] + "://" + parts[1] + parts[2]
	switch query := parts[3]; {
	case strings.HasPrefix(query, "?"):
		url += query // "?" stands for an empty one, "??" for "?": see urlKey
	case query != "":
		url += "?" + query
	}
	return url, true
}
