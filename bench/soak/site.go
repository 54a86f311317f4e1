package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
)

// article is what the origin has at one URL: a function of its number, so that
// whoever asks knows what must come.
type article struct {
	number   int
	size     int
	text     bool // HTML, which the gateway may encode; else an image
	tagged   bool
	language bool // it varies by Accept-Language
}

// sizes of bodies, as a share of all articles and a range in which the logarithm
// is spread evenly: many small ones, few large ones, 12 KiB on average.
var sizes = []struct {
	share       float64
	least, most float64
}{
	{0.50, 500, 4_000}, {0.35, 4_000, 16_000}, {0.13, 16_000, 64_000}, {0.0195, 64_000, 256_000}, {0.0005, 1_000_000, 3_000_000},
}

func articleOf(number int) article {
	random := rand.New(rand.NewPCG(uint64(number), 11))
	a := article{number: number, text: number%3 > 0, tagged: number%2 == 0, language: number%5 == 0}
	at := random.Float64()
	for _, s := range sizes {
		a.size = int(s.least * math.Exp(random.Float64()*math.Log(s.most/s.least)))
		if at -= s.share; at < 0 {
			break
		}
	}
	return a
}

func (a article) path() string { return "/articles/of/the/day/" + strconv.Itoa(a.number) }

// tags that a purge may name it by.
func (a article) tags() string {
	return fmt.Sprintf("topic-%d, author-%d", a.number%topics, a.number%89)
}

// topics is how many there are to purge by.
const topics = 997

// body begins with who it is for; the rest is cut from a text that all share.
func (a article) body(language string) (head, rest []byte) {
	if !a.language {
		language = "any"
	}
	head = fmt.Appendf(nil, "<!-- article %d, %s -->\n", a.number, language)
	from := a.number % 4096
	return head, prose[from : from+a.size]
}

// prose is text that compresses as pages do, about to a quarter.
var prose = func() []byte {
	random := rand.New(rand.NewPCG(5, 5))
	words := make([]string, 600)
	for i := range words {
		word := make([]byte, 2+random.IntN(9))
		for j := range word {
			word[j] = byte('a' + random.IntN(26))
		}
		words[i] = string(word)
	}
	text := make([]byte, 0, 3_100_000)
	for len(text) < 3_010_000 {
		text = append(append(text, words[random.IntN(len(words))]...), ' ')
	}
	return text
}()

// answer serves an article, and an empty 200 for other paths, which is what
// health checks ask for.
func answer(w http.ResponseWriter, r *http.Request) {
	text, ok := strings.CutPrefix(r.URL.Path, article{}.path()[:len(article{}.path())-1])
	number, err := strconv.Atoi(text)
	h := w.Header()
	if !ok || err != nil || number < 0 {
		h.Set("Cache-Control", "no-store")
		return
	}
	a := articleOf(number)
	h.Set("Cache-Control", "public, max-age=86400")
	h.Set("Content-Type", "image/webp")
	if a.text {
		h.Set("Content-Type", "text/html; charset=utf-8")
	}
	if a.tagged {
		h.Set("Cache-Tag", a.tags())
	}
	if a.language {
		h.Set("Vary", "Accept-Language")
	}
	h.Set("ETag", fmt.Sprintf(`"%x"`, number))
	head, rest := a.body(r.Header.Get("Accept-Language"))
	h.Set("Content-Length", strconv.Itoa(len(head)+len(rest)))
	_, _ = w.Write(head) // a gateway that has left is no concern of the origin
	_, _ = w.Write(rest)
}
