package lb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/named"
)

// reports is what a discovery said, in order.
type reports struct {
	mu   sync.Mutex
	list []string
}

func (r *reports) add(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, text)
}

func (r *reports) feed() Feed {
	return Feed{
		Found:  func(set []Address) { r.add(fmt.Sprint(set)) },
		Failed: func(err error) { r.add("failed: " + err.Error()) },
	}
}

// news returns what came since the last call, each run of equal reports once.
func (r *reports) news() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Compact(r.list)
	r.list = nil
	return strings.Join(list, "; ")
}

func TestFileFollowsChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replicas")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var seen reports
		d := must(newFile(named.Spec{Name: "file", Args: []string{path}}))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go d.Run(ctx, seen.feed())
		step := func(what, want string, polls int) {
			t.Helper()
			time.Sleep(time.Duration(polls)*time.Second + time.Millisecond)
			synctest.Wait()
			if got := seen.news(); !strings.Contains(got, want) || (want == "" && got != "") {
				t.Errorf("%s: %q: want %q", what, got, want)
			}
		}
		step("no file yet", "no such file", 1)
		write("# ours\n10.0.0.1:80\n\napp:81 # two\n")
		step("two lines", "[10.0.0.1:80 app:81]", 1)
		step("nothing changed", "", 5)
		write("10.0.0.2:80\napp:82\nnonsense\n:3\n")
		step("two bad lines: both are named, neither set nor half a set", `line 3: address "nonsense": want host:port such as 10.0.0.7:3000`, 1)
		step("the bad file is told once", "", 5)
		write("")
		step("empty for a moment is not believed", "", 1)
		step("empty twice is", "[]", 1)
		if err := os.WriteFile(path+".new", []byte("10.0.0.3:80\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		step("an atomic rename", "[10.0.0.3:80]", 1)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		step("a file that vanished", "no such file", 1)
		write("10.0.0.3:80\n")
		step("the same file is back: that is told, so that the failure ends", "[10.0.0.3:80]", 1)
	})
}

func TestFileRefusesWhatIsTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replicas")
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (file{path: path}).read(); err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("%v: want that it is larger than 1MiB", err)
	}
}

func TestFileIntervalIsOnePositiveDuration(t *testing.T) {
	for words, good := range map[string]bool{"5s": true, "0s": false, "soon": false, "1s 2s": false} {
		_, err := newFile(named.Spec{Name: "file", Args: []string{"f"}, Options: map[string][]string{"interval": strings.Fields(words)}})
		if (err == nil) != good {
			t.Errorf("interval %s: %v", words, err)
		}
	}
}
