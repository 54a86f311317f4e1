package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// dateLayouts are the three forms of an HTTP-date (RFC 9110, 5.6.7), with GMT
// spelled out.
var dateLayouts = [...]string{
	http.TimeFormat,
	"Monday, 02-Jan-06 15:04:05 GMT",
	time.ANSIC,
}

// parseDate reads an HTTP-date strictly: time.Parse alone would also accept
// other zones, single-digit hours and doubled blanks. A wrong day of the week
// is forgiven, as is letter case.
func parseDate(text string) (time.Time, bool) {
	if rest := len(text) - len("GMT"); rest > 0 && strings.EqualFold(text[rest:], "GMT") {
		text = text[:rest] + "GMT" // the one part that time.Parse wants in capitals
	}
	for _, layout := range dateLayouts {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		written := t.Format(layout)
		if sameAfterWeekday(written, text) {
			return t, true
		}
	}
	return time.Time{}, false
}

// sameAfterWeekday compares two dates of one layout from the first blank on.
func sameAfterWeekday(a, b string) bool {
	cutA, cutB := strings.IndexByte(a, ' '), strings.IndexByte(b, ' ')
	return cutA >= 0 && cutB >= 0 && strings.EqualFold(a[cutA:], b[cutB:])
}

// fieldDate reads a field that must hold exactly one HTTP-date.
func fieldDate(h http.Header, name string) (time.Time, bool) { return onlyDate(h[name]) }

// onlyDate is that of a field's lines, of which there must be one.
func onlyDate(values []string) (time.Time, bool) {
	if len(values) != 1 {
		return time.Time{}, false
	}
	return parseDate(strings.Trim(values[0], " \t"))
}
