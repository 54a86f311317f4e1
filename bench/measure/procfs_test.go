package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"
	"time"
)

// stat is a line of /proc/PID/stat with these times, in ticks of 10 ms.
func stat(pid int, name string, parent, utime, stime, cutime, cstime int) *fstest.MapFile {
	line := fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194304 100 0 0 0 %d %d %d %d 20 0 1 0 114698 3133440 412 0\n",
		pid, name, parent, utime, stime, cutime, cstime)
	return &fstest.MapFile{Data: []byte(line)}
}

func TestTreeCPU(t *testing.T) {
	proc := Procfs{fstest.MapFS{
		"1/stat":       stat(1, "init", 0, 1000, 1000, 9999, 9999),
		"10/stat":      stat(10, "nginx", 1, 1, 2, 0, 0),
		"11/stat":      stat(11, "nginx: (w) S 9 9", 10, 100, 50, 0, 0),
		"12/stat":      stat(12, "sh", 11, 4, 0, 30, 3),
		"20/stat":      stat(20, "wrk", 1, 500, 500, 0, 0),
		"21/status":    {}, // ended between the listing and the reading
		"acpi/stat":    {Data: []byte("not a process")},
		"loadavg":      {Data: []byte("0.1 0.2 0.3")},
		"30/stat":      stat(30, "orphan", 99, 7, 0, 0, 0),
		"40/stat":      stat(40, "loop", 41, 1, 0, 0, 0),
		"41/stat":      stat(41, "loop", 40, 2, 0, 0, 0),
		"10/task/stat": {},
	}}
	cases := map[string]struct {
		root int
		want time.Duration
	}{
		"a tree: itself, children, theirs, and ended ones": {10, (1 + 2 + 100 + 50 + 4 + 30 + 3) * 10 * time.Millisecond},
		"a process alone":                                    {20, 10 * time.Second},
		"a name that looks like fields":                      {11, (100 + 50 + 4 + 30 + 3) * 10 * time.Millisecond},
		"parents that changed while reading may form a ring": {40, 30 * time.Millisecond},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := proc.TreeCPU(c.root)
			if err != nil || got != c.want {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
	if _, err := proc.TreeCPU(21); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that has ended: got %v, want ErrNotExist", err)
	}
}

func TestParseStatRejects(t *testing.T) {
	for name, line := range map[string]string{
		"nothing":          "",
		"no name":          "1 init S 0",
		"too few fields":   "1 (init) S 0 1 1 0 -1 0 0 0 0 0 1 2",
		"a word as a time": "1 (init) S 0 1 1 0 -1 0 0 0 0 0 1 2 x 4 20",
	} {
		if got, err := parseStat(line); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

func TestParseMachineStat(t *testing.T) {
	cases := map[string]struct {
		text string
		want time.Duration
		ok   bool
	}{
		"everything but idle and iowait; guest is in user already": {
			"cpu  100 20 300 4000000 5000000 6 70 8 90 90\ncpu0 1 1 1 1 1 1 1 1 1 1\n", (100 + 20 + 300 + 6 + 70 + 8) * 10 * time.Millisecond, true},
		"one CPU's line is not the sum": {"cpu0 1 1 1 1 1 1 1 1 1 1\n", 0, false},
		"too few numbers":               {"cpu  1 2 3 4\n", 0, false},
		"a word":                        {"cpu  1 2 x 4 5 6 7 8 9 10\n", 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseMachineStat(c.text)
			if got != c.want || (err == nil) != c.ok {
				t.Errorf("got %v, %v; want %v, ok %v", got, err, c.want, c.ok)
			}
		})
	}
}

func TestProcfsReadsThisMachine(t *testing.T) {
	proc := Procfs{os.DirFS("/proc")}
	own, err := proc.TreeCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	machine, err := proc.MachineCPU()
	if err != nil {
		t.Fatal(err)
	}
	if machine < own || machine <= 0 {
		t.Errorf("machine %v, this process %v: want the machine to have worked more", machine, own)
	}
}

func TestResident(t *testing.T) {
	proc := Procfs{fstest.MapFS{
		"10/statm": {Data: []byte("28674 3133 440 12 0 900 0\n")},
		"11/statm": {Data: []byte("28674\n")},
		"12/statm": {Data: []byte("28674 many\n")},
	}}
	if got, err := proc.Resident(10); err != nil || got != 3133*int64(os.Getpagesize()) {
		t.Errorf("got %d, %v: want 3133 pages", got, err)
	}
	for _, pid := range []int{11, 12, 13} {
		if got, err := proc.Resident(pid); err == nil {
			t.Errorf("process %d: got %d: want an error", pid, got)
		}
	}
	if got, err := (Procfs{os.DirFS("/proc")}).Resident(os.Getpid()); err != nil || got < 1<<20 {
		t.Errorf("of this process: %d, %v: want more than a MiB", got, err)
	}
}

func TestTreeMemory(t *testing.T) {
	rollup := func(kB int) *fstest.MapFile {
		return &fstest.MapFile{Data: fmt.Appendf(nil, "5581-7ffd ---p 0 00:00 0 [rollup]\nRss: 9999 kB\nPss: %d kB\nPss_Dirty: 1 kB\n", kB)}
	}
	proc := Procfs{fstest.MapFS{
		"10/stat":         stat(10, "nginx", 1, 0, 0, 0, 0),
		"11/stat":         stat(11, "nginx", 10, 0, 0, 0, 0),
		"20/stat":         stat(20, "wrk", 1, 0, 0, 0, 0),
		"30/stat":         stat(30, "odd", 1, 0, 0, 0, 0),
		"10/smaps_rollup": rollup(100),
		"11/smaps_rollup": rollup(23),
		"20/smaps_rollup": rollup(7),
		"30/smaps_rollup": {Data: []byte("Rss: 1 kB\n")},
		"11/fd/0":         {}, "11/fd/1": {}, "11/fd/17": {},
	}}
	if got, err := proc.TreeMemory(10); err != nil || got != 123<<10 {
		t.Errorf("a process and its child: %d, %v: want 123 KiB", got, err)
	}
	if _, err := proc.TreeMemory(12); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that has ended: %v: want ErrNotExist", err)
	}
	if got, err := proc.TreeMemory(30); err == nil {
		t.Errorf("no Pss: %d: want an error", got)
	}
	if got, err := proc.Files(11); err != nil || got != 3 {
		t.Errorf("%d files, %v: want 3", got, err)
	}
}
