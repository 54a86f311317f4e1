package logbatch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sheet is a writer that may be held up or broken.
type sheet struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes []int
	held   chan struct{} // nil, or closed when a write may go on
	err    error
	closed bool
}

func (s *sheet) Write(b []byte) (int, error) {
	if s.held != nil {
		<-s.held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	s.writes = append(s.writes, len(b))
	return s.text.Write(b)
}

func (s *sheet) Close() error { s.closed = true; return nil }

func (s *sheet) read() (text string, writes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.writes
}

// told is what a writer said of losses.
type told struct {
	mu      sync.Mutex
	dropped int
	trouble []error
}

func (o *told) options() Options {
	return Options{
		Dropped: func(n int) { o.mu.Lock(); defer o.mu.Unlock(); o.dropped += n },
		Trouble: func(err error) { o.mu.Lock(); defer o.mu.Unlock(); o.trouble = append(o.trouble, err) },
	}
}

func TestRecordsAreWrittenTogetherWithinATenthOfASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := new(sheet)
		w := New(to, new(told).options())
		for i := range 3 {
			fmt.Fprintf(w, "record %d\n", i)
		}
		synctest.Wait()
		if text, _ := to.read(); text != "" {
			t.Errorf("written at once: %q", text)
		}
		time.Sleep(every)
		synctest.Wait()
		if text, writes := to.read(); text != "record 0\nrecord 1\nrecord 2\n" || len(writes) != 1 {
			t.Errorf("%d writes, %q: want one of all three", len(writes), text)
		}
		fmt.Fprintln(w, "last")
		if err := w.Close(); err != nil || !to.closed {
			t.Errorf("closed %v, %v", to.closed, err)
		}
		if text, _ := to.read(); !strings.HasSuffix(text, "last\n") {
			t.Errorf("the end is %q: want what waited", text)
		}
		if _, err := w.Write([]byte("late\n")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after the end: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestMuchIsWrittenBeforeItsTimeAndInPiecesOfWholeRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := new(sheet)
		w := New(to, new(told).options())
		defer w.Close()
		record := strings.Repeat("x", 999) + "\n"
		long := strings.Repeat("y", piece+10) + "\n"
		want := ""
		for range 600 {
			want += record
			io.WriteString(w, record)
		}
		io.WriteString(w, long)
		want += long
		synctest.Wait()
		text, writes := to.read()
		if text != want {
			t.Errorf("%d bytes: want the %d that were given, before any time has passed", len(text), len(want))
		}
		for _, n := range writes {
			if n > piece && n != len(long) || n != len(long) && n%len(record) != 0 {
				t.Errorf("a write of %d bytes: want whole records, a piece at most", n)
			}
		}
	})
}

func TestWhatFindsNoRoomIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, losses := &sheet{held: make(chan struct{})}, new(told)
		w := New(to, losses.options())
		record := strings.Repeat("x", 1<<10-1) + "\n"
		const given = 3 * room >> 10
		for range given {
			if _, err := io.WriteString(w, record); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // nobody waits for the writer that is held up
		close(to.held)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		text, _ := to.read()
		if written := len(text) >> 10; written+losses.dropped != given || losses.dropped == 0 || written < room>>10 {
			t.Errorf("%d written, %d dropped: want all %d accounted for, %d written at least", written, losses.dropped, given, room>>10)
		}
		if len(losses.trouble) == 0 || !errors.Is(losses.trouble[0], ErrFull) {
			t.Errorf("told of %v: want that it is full", losses.trouble)
		}
	})
}

func TestAWriterThatFailsIsToldOfOnceUntilItWorks(t *testing.T) {
	to, losses := new(sheet), new(told)
	w := New(to, losses.options())
	defer w.Close()
	full := errors.New("no space left on device")
	for _, err := range []error{full, full, nil, full} {
		to.mu.Lock()
		to.err = err
		to.mu.Unlock()
		fmt.Fprint(w, "one\n", "two\n")
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if text, _ := to.read(); text != "one\ntwo\n" || losses.dropped != 6 || len(losses.trouble) != 2 || !errors.Is(losses.trouble[0], full) {
		t.Errorf("written %q, dropped %d, told of %v: want two of eight, and to be told twice", text, losses.dropped, losses.trouble)
	}
}

func TestNothingIsLostBetweenManyWriters(t *testing.T) {
	to := new(sheet)
	w := New(to, new(told).options())
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			for i := range 500 {
				fmt.Fprintf(w, "%d %d\n", n, i)
				if i%100 == 0 {
					_ = w.Sync() // never fails
				}
			}
		})
	}
	group.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text, _ := to.read()
	next := make(map[int]int)
	for line := range strings.Lines(text) {
		var n, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &n, &i); err != nil || next[n] != i {
			t.Fatalf("%q: want record %d of its writer (%v)", line, next[n], err)
		}
		next[n]++
	}
	for n := range 8 {
		if next[n] != 500 {
			t.Errorf("writer %d: %d records: want 500", n, next[n])
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	w := New(new(nowhere), Options{Dropped: func(int) {}, Trouble: func(error) {}})
	defer w.Close()
	record := []byte(strings.Repeat("x", 999) + "\n")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.Write(record) // what finds no room is counted
	}
}

type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) Close() error                { return nil }
