package purge

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func openJournal(t *testing.T, dir string) (*FileJournal, []Event) {
	t.Helper()
	var events []Event
	j, err := OpenJournal(dir, func(e Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, events
}

func sample(id string, state State, generation uint64) Record {
	return Record{
		Order:      Order{ID: id, IdempotencyKey: "key-" + id, Selectors: Selectors{Tags: []string{"a"}}, Created: time.Unix(1, 0).UTC()},
		Generation: generation, State: state,
		Steps: []Step{}, Targets: []TargetState{{Name: "cloudflare", State: Accepted}},
	}
}

func journaled(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, j *FileJournal, r Record, whole bool) {
	t.Helper()
	if err := j.Append(r, whole); err != nil {
		t.Fatal(err)
	}
}

func TestJournalKeepsTheLatestStates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "state")
	j, _ := openJournal(t, dir)
	write(t, j, sample("a", Accepted, 0), true)
	write(t, j, sample("b", Accepted, 0), true)
	write(t, j, sample("a", Running, 7), false)
	write(t, j, sample("a", Done, 7), false)

	again, events := openJournal(t, dir)
	records, generation := again.Load()
	want := []Record{sample("a", Done, 7), sample("b", Accepted, 0)}
	if !reflect.DeepEqual(records, want) || generation != 7 || len(events) != 0 {
		t.Errorf("%+v, generation %d, events %v: want %+v", records, generation, events, want)
	}
	if info, err := os.Stat(filepath.Join(dir, journalName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: want it readable by its owner only", info.Mode(), err)
	}
}

// A crash may leave any part of the last line behind. Nothing else may suffer.
func TestJournalCutAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	j, _ := openJournal(t, dir)
	states := []Record{sample("a", Accepted, 0), sample("b", Accepted, 0), sample("a", Running, 3), sample("b", Running, 4), sample("a", Done, 3)}
	ends := []int{len(journaled(t, dir))}
	for i, r := range states {
		write(t, j, r, i < 2)
		ends = append(ends, len(journaled(t, dir)))
	}
	data := journaled(t, dir)
	for cut := ends[0]; cut <= len(data); cut++ {
		whole := 0
		for whole+1 < len(ends) && ends[whole+1] <= cut {
			whole++
		}
		want := make(map[string]Record)
		for _, r := range states[:whole] {
			want[r.ID] = r
		}
		torn := t.TempDir()
		if err := os.WriteFile(filepath.Join(torn, journalName), data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		after, events := openJournal(t, torn)
		records, _ := after.Load()
		got := make(map[string]Record)
		for _, r := range records {
			got[r.ID] = r
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("cut at %d: %+v, want %+v", cut, got, want)
		}
		if torn := cut != ends[whole]; torn != (len(events) == 1) {
			t.Fatalf("cut at %d: events %v, torn %t", cut, events, torn)
		}
		if cut%8 != 0 {
			continue
		}
		// What is appended next must survive as well.
		write(t, after, sample("c", Accepted, 0), true)
		if again, events := openJournal(t, torn); len(again.records) != len(want)+1 || len(events) != 0 {
			t.Fatalf("cut at %d: %d orders after one more, events %v", cut, len(again.records), events)
		}
	}
}

func TestJournalDamageCostsOneLine(t *testing.T) {
	dir := t.TempDir()
	j, _ := openJournal(t, dir)
	for _, id := range []string{"a", "b", "c"} {
		write(t, j, sample(id, Accepted, 0), true)
	}
	data := bytes.Replace(journaled(t, dir), []byte(`"id":"b"`), []byte(`"id":"x"`), 1)
	if err := os.WriteFile(filepath.Join(dir, journalName), data, 0o600); err != nil {
		t.Fatal(err)
	}
	again, events := openJournal(t, dir)
	if len(again.records) != 2 || again.records[0].ID != "a" || again.records[1].ID != "c" || len(events) != 1 || events[0].Kind != JournalTorn {
		t.Errorf("%+v, %v: want a and c, and one event", again.records, events)
	}
}

func TestJournalRewritesItself(t *testing.T) {
	dir := t.TempDir()
	j, _ := openJournal(t, dir)
	r := sample("a", Accepted, 0)
	r.Tags = []string{strings.Repeat("t", 1000)}
	for n := 0; !j.Due(); n++ {
		write(t, j, r, true)
		if n > 2000 {
			t.Fatal("never due")
		}
	}
	if size := len(journaled(t, dir)); size < rewriteAt || size > rewriteAt+4096 {
		t.Errorf("due at %d bytes: want about %d", size, rewriteAt)
	}
	if err := j.Rewrite([]Record{sample("b", Done, 5)}, 41); err != nil || j.Due() {
		t.Fatal(err, j.Due())
	}
	write(t, j, sample("c", Accepted, 0), true)
	again, _ := openJournal(t, dir)
	records, generation := again.Load()
	if len(records) != 2 || records[0].ID != "b" || records[1].ID != "c" || generation != 41 {
		t.Errorf("%+v, generation %d: want b, c and 41", records, generation)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestJournalInAPlaceThatTakesNoFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenJournal(file, nil)
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "may write") {
		t.Errorf("%v: want an error that names the place", err)
	}
}

func TestJournalAfterAFailedWrite(t *testing.T) {
	dir := t.TempDir()
	j, _ := openJournal(t, dir)
	write(t, j, sample("a", Accepted, 0), true)
	good := j.file
	readOnly, err := os.Open(j.path)
	if err != nil {
		t.Fatal(err)
	}
	j.file = readOnly // every write fails
	if err := j.Append(sample("b", Accepted, 0), true); err == nil {
		t.Fatal("wrote to a file that takes no writes")
	}
	// Half a line, as a full disk leaves it.
	if _, err := good.WriteString("0badc0de {\"whole\":tr"); err != nil {
		t.Fatal(err)
	}
	j.file = good
	write(t, j, sample("c", Accepted, 0), true)
	again, events := openJournal(t, dir)
	if len(again.records) != 2 || again.records[1].ID != "c" || len(events) != 0 {
		t.Errorf("%+v, %v: want a and c, undamaged", again.records, events)
	}
	_ = readOnly.Close()
}

func TestRecordJSONIsStable(t *testing.T) {
	r := sample("a", Partial, 7)
	r.Steps = []Step{{Name: StepNode, Started: time.Unix(2, 0).UTC(), Finished: time.Unix(3, 0).UTC()}}
	r.Targets[0].Error = &TargetError{Kind: RateLimited, HTTP: 429, Code: 1134, Message: "m"}
	r.Targets[0].RateLimited = milliseconds(2 * time.Second)
	r.Exit = ExitCode(r)
	got, err := json.Marshal(r)
	want := `{"id":"a","idempotency_key":"key-a","tags":["a"],"created":"1970-01-01T00:00:01Z","generation":7,"state":"partial",` +
		`"steps":[{"name":"node","started":"1970-01-01T00:00:02Z","finished":"1970-01-01T00:00:03Z"}],` +
		`"targets":[{"name":"cloudflare","state":"accepted","batches":0,"items":0,"attempts":0,"rate_limited":"2s",` +
		`"error":{"kind":"rate_limited","http":429,"code":1134,"message":"m"}}],"exit":5}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}

func FuzzDecodeJournal(f *testing.F) {
	var seed []byte
	for i, r := range []Record{sample("a", Accepted, 0), sample("a", Done, 1)} {
		text, err := encodeLine(line{Whole: i == 0, Record: &r})
		if err != nil {
			f.Fatal(err)
		}
		seed = append(seed, text...)
	}
	f.Add(seed)
	f.Add([]byte("00000000 {}\n"))
	f.Add([]byte("\n\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Damage before and after must not cost an order that is whole.
		before := decodeJournal(data)
		after := decodeJournal(append(append(append([]byte{}, data...), '\n'), seed...))
		ids := make(map[string]bool)
		for _, r := range after.records {
			if r.ID == "" || ids[r.ID] {
				t.Fatalf("id %q twice, or none", r.ID)
			}
			ids[r.ID] = true
		}
		if !ids["a"] || len(after.records) < len(before.records) || after.generation < before.generation {
			t.Fatalf("%d orders, generation %d before; %d, %d after", len(before.records), before.generation, len(after.records), after.generation)
		}
	})
}
