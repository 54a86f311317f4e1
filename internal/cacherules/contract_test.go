package cacherules

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/edgegw/edge/internal/named"
)

// Every kind is tested here by its registered example, before its author
// writes a test.
func TestEveryKind(t *testing.T) {
	for _, kind := range Kinds.Names() {
		t.Run(kind, func(t *testing.T) {
			rule := written(t, Kinds.Example(kind))
			set, err := Compile([]Rule{rule}, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("an unknown word is refused", func(t *testing.T) { refusesUnknownWords(t, kind) })
			t.Run("the rule has the words of its example", func(t *testing.T) {
				if got, want := rule.spec().Options, Kinds.Example(kind).Options; len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
					t.Errorf("got %v: want %v", got, want)
				}
			})
			for _, path := range rule.Paths {
				target := strings.ReplaceAll(path, "*", "x")
				if !strings.HasPrefix(target, "/") {
					target = "/" + target
				}
				t.Run("judges "+target, func(t *testing.T) { judgesPurely(t, set, kind, target) })
			}
		})
	}
}

// written is the rule that an operator writes by a spec, read from JSON.
func written(t *testing.T, s named.Spec) Rule {
	fields := map[string]any{"kind": s.Name, "paths": s.Args}
	for word, args := range s.Options {
		switch word {
		case wordTag:
			fields["tags"] = args
		case wordToken:
			fields["tokens"] = args
		case wordWithoutCookie:
			fields[word] = args
		case wordOverride, wordStoreSetCookie, wordStoreAuthorized, wordStoreMismatched, wordTrustVary:
			fields[word] = true
		default:
			fields[word] = args[0]
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var rule Rule
	if err := decoder.Decode(&rule); err != nil {
		t.Fatal(err)
	}
	return rule
}

func refusesUnknownWords(t *testing.T, kind string) {
	spec := Kinds.Example(kind)
	spec.Options = map[string][]string{"wibble": {"1"}}
	if _, err := Kinds.New(spec); err == nil || !strings.Contains(err.Error(), `"wibble"`) {
		t.Errorf("got %v: want an error that names the word", err)
	}
}

func judgesPurely(t *testing.T, set *Ruleset, kind, target string) {
	newRequest := func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, target+"?q=1", nil)
		r.Header.Set("Cookie", "session=1; other")
		return r
	}
	r, untouched := newRequest(), newRequest()
	first := set.Judge(r)
	if first.Kind != kind {
		t.Fatalf("got the verdict of %q", first.Kind)
	}
	before := *first
	var parallel sync.WaitGroup
	for range 8 {
		parallel.Go(func() {
			v := set.Judge(r)
			if v != first || v.Bypasses(r) != first.Bypasses(r) {
				t.Error("a second verdict differs from the first")
			}
			h := http.Header{"Content-Type": {"text/plain"}}
			v.Respond(Response{Status: 200, Header: h, Version: "1", Request: r})
			v.Veto(200, h)
		})
	}
	parallel.Wait()
	if !reflect.DeepEqual(r, untouched) {
		t.Errorf("the request became %+v", r)
	}
	if !reflect.DeepEqual(*first, before) {
		t.Errorf("the verdict became %+v", *first)
	}
}
