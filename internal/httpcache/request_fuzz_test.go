package httpcache

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzIfNoneMatch: a list matches each of its tags, weakly, whatever else is in
// it; reading it comes to an end.
func FuzzIfNoneMatch(f *testing.F) {
	f.Add(`"a", W/"b"`, "c")
	f.Add(`*`, "")
	f.Add(`"a`, `b,c`)
	f.Add(`W/`, `"`)
	f.Fuzz(func(t *testing.T, list, opaque string) {
		for rest := strings.TrimLeft(list, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
			one, after := cutTag(rest)
			if len(after) >= len(rest) || !strings.HasPrefix(rest, one) {
				t.Fatalf("%q: cut %q off, left %q", rest, one, after)
			}
			rest = after
		}
		if strings.ContainsAny(opaque, "\"") {
			return // no opaque-tag (RFC 9110, 8.8.3)
		}
		tag := `"` + opaque + `"`
		for _, field := range []string{tag, "W/" + tag, tag + ", " + list, ` ,W/` + tag + `,` + list, `"x", ` + tag} {
			if !matchesAny(field, tag) || !matchesAny(field, "W/"+tag) {
				t.Fatalf("%q does not match %q", field, tag)
			}
		}
		if matchesAny(tag, `"`+opaque+`x"`) {
			t.Fatalf("%q matches another tag", tag)
		}
		if matchesAny(list, "") && !strings.Contains(list, "*") {
			t.Fatalf("%q matches an answer without a tag", list)
		}
	})
}

// FuzzDate: what is read as a date is one that can be written, to the second,
// and in no other zone.
func FuzzDate(f *testing.F) {
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT")
	f.Add("Sunday, 06-Nov-94 08:49:37 GMT")
	f.Add("Sun Nov  6 08:49:37 1994")
	f.Add("Sun, 6 Nov 1994 8:49:37 UTC")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseDate(text)
		if !ok {
			if !got.IsZero() {
				t.Fatalf("%q: refused, and %v", text, got)
			}
			return
		}
		if _, offset := got.Zone(); offset != 0 || got.Nanosecond() != 0 {
			t.Fatalf("%q: %v", text, got)
		}
		if got.Year() > 9999 || got.Year() < 0 {
			return // cannot be written in four digits
		}
		if again, ok := parseDate(got.Format(http.TimeFormat)); !ok || !again.Equal(got) {
			t.Fatalf("%q: %v, written back %v %v", text, got, again, ok)
		}
	})
}

// FuzzAge: an age is never negative, never longer than 2³¹ seconds, and that of
// the first member; one that is no number counts for nothing.
func FuzzAge(f *testing.F) {
	f.Add("10", "20")
	f.Add("-1", "")
	f.Add("99999999999999999999", "0")
	f.Add("1.5", "a")
	f.Fuzz(func(t *testing.T, first, second string) {
		h := http.Header{"Age": {first, second}}
		age := parseAge(h)
		if age < 0 || age > maxDelta*time.Second {
			t.Fatalf("%q: %s", first, age)
		}
		if !strings.Contains(first, ",") {
			if joint := parseAge(http.Header{"Age": {first + " , " + second}}); joint != age {
				t.Fatalf("%q, then %q: %s: want %s as over two lines", first, second, joint, age)
			}
		}
		digits, _, _ := strings.Cut(first, ",")
		digits = strings.Trim(digits, " \t")
		if strings.Trim(digits, "0123456789") != "" && age != 0 {
			t.Fatalf("%q: %s: want that it is ignored", first, age)
		}
		now := time.Unix(1e9, 0)
		if initial := initialAge(h, now.Add(age), now, now.Add(time.Second)); initial < age+time.Second {
			t.Fatalf("%q: initial age %s: want the time that the answer took on top", first, initial)
		}
	})
}
