package backup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const someSum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

func marked(lineage string, minute int) Marker {
	m := Manifest{Lineage: lineage, Created: noon.Add(time.Duration(minute) * time.Minute)}
	return Marker{Name: archiveName(m, someSum, nil), Lineage: lineage, Created: m.Created, SHA256: someSum, Size: 1}
}

func TestWhatMakesRoom(t *testing.T) {
	const ours, theirs = "aaaaaaaa", "bbbbbbbb"
	unfinished := Object{Name: archiveName(Manifest{Lineage: ours, Created: noon}, someSum, nil), Modified: noon}
	for _, c := range []struct {
		name    string
		markers []Marker
		objects []Object
		keep    int
		after   time.Duration
		want    []string
	}{
		{"fewer than are kept", []Marker{marked(ours, 1), marked(ours, 2)}, nil, 2, 0, nil},
		{"the oldest go, markers first", []Marker{marked(ours, 1), marked(ours, 3), marked(ours, 2)}, nil, 2, 0,
			[]string{marked(ours, 1).Name + ".json", marked(ours, 1).Name}},
		{"the last one stays, whatever is kept", []Marker{marked(ours, 1)}, nil, 0, 0, nil},
		{"of others nothing goes", []Marker{marked(theirs, 1), marked(theirs, 2), marked(ours, 3)}, nil, 1, 0, nil},
		{"what was never finished goes after a day", []Marker{marked(ours, 1)}, []Object{unfinished}, 1, 25 * time.Hour, []string{unfinished.Name}},
		{"and not before: somebody may be at it", []Marker{marked(ours, 1)}, []Object{unfinished}, 1, 23 * time.Hour, nil},
		{"nor while there is no good one", nil, []Object{unfinished}, 1, 25 * time.Hour, nil},
	} {
		if got := expired(noon.Add(c.after), c.objects, c.markers, ours, c.keep); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q: want %q", c.name, got, c.want)
		}
	}
}

func TestChoosing(t *testing.T) {
	a1, a2, b3 := marked("aaaaaaaa", 1), marked("aaaaaaaa", 2), marked("bbbbbbbb", 3)
	for _, c := range []struct {
		name    string
		markers []Marker
		asked   string
		want    string
		wrong   string
	}{
		{"the newest", []Marker{a1, a2}, "", a2.Name, ""},
		{"the one named", []Marker{a1, a2}, a1.Name, a1.Name, ""},
		{"none there", nil, "", "", ErrNone.Error()},
		{"none of that name", []Marker{a1}, "../../etc/passwd", "", "edge backup --list"},
		{"of two states somebody has to say which", []Marker{a1, b3}, "", "", "--backup NAME"},
		{"and may", []Marker{a1, b3}, a1.Name, a1.Name, ""},
	} {
		m, err := Choose(c.markers, c.asked)
		if m.Name != c.want || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: got %q, %v: want %q, %q", c.name, m.Name, err, c.want, c.wrong)
		}
	}
	if _, err := Choose(nil, "x"); !errors.Is(err, ErrNone) {
		t.Errorf("got %v: want ErrNone", err)
	}
}

func TestPause(t *testing.T) {
	for _, c := range []struct {
		name     string
		last     time.Time
		failures int
		want     time.Duration
	}{
		{"none yet: at once", time.Time{}, 0, 0},
		{"what is left of the interval", noon.Add(-4 * time.Minute), 0, 6 * time.Minute},
		{"overdue: at once", noon.Add(-time.Hour), 0, 0},
		{"from the future, as after a clock was set: an interval", noon.Add(time.Hour), 0, 10 * time.Minute},
		{"after a failure", noon.Add(-time.Hour), 1, 30 * time.Second},
		{"after the third", noon, 3, 2 * time.Minute},
		{"never longer than five minutes", noon, 100, 5 * time.Minute},
	} {
		if got := pause(noon, c.last, 10*time.Minute, c.failures); got != c.want {
			t.Errorf("%s: got %s: want %s", c.name, got, c.want)
		}
	}
	if got := pause(noon, noon, 10*time.Second, 9); got != 10*time.Second {
		t.Errorf("never longer than the interval: got %s", got)
	}
}

func TestTargetsThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		target Target
		want   []string
	}{
		{Target{}, []string{"to: missing"}},
		{Target{To: "backups"}, []string{"from the root on"}},
		{Target{To: "ftp://host/x"}, []string{`"ftp://host/x"`}},
		{Target{To: "s3://"}, []string{"s3://BUCKET"}},
		{Target{To: "/x", Region: "r", PathStyle: true}, []string{"for s3://"}},
		{Target{To: "s3://b/p", Endpoint: "s3.example.com", AccessKey: "id"}, []string{"endpoint", "secret_key"}},
		{Target{To: "s3://b", Endpoint: "https://user:pass@s3.example.com"}, []string{"endpoint"}},
	} {
		err := c.target.Validate()
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: got %v: want %q in it", c.target, err, want)
			}
		}
	}
	for _, good := range []Target{{To: "/var/backups"}, {To: "s3://b"}, {To: "s3://b/a/b/", Endpoint: "http://127.0.0.1:9000", AccessKey: "a", SecretKey: "b"}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: got %v", good, err)
		}
	}
}

func FuzzMarker(f *testing.F) {
	f.Add("edge-a-1.tar.gz.json", `{"name":"edge-a-1.tar.gz","lineage":"a","created":"2026-11-27T12:00:00Z","sha256":"x"}`)
	f.Add("x", "{")
	f.Fuzz(func(t *testing.T, name, text string) {
		m, err := readMarker(name, []byte(text))
		if err == nil && fmt.Sprint(m.Name, ".json") != name {
			t.Errorf("%q says %q", name, m.Name)
		}
	})
}
