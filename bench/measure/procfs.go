package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc: USER_HZ, which is 100 on every
// architecture that Linux and Go share (proc(5), sysconf(_SC_CLK_TCK)).
const tick = time.Second / 100

// Procfs reads CPU times and memory from a file system laid out as proc(5) says.
type Procfs struct {
	FS fs.FS
}

// proc is what one line of /proc/PID/stat says.
type proc struct {
	parent int
	cpu    time.Duration
}

// TreeCPU is the CPU time, user and system, that a process, its descendants
// and their ended children have used.
func (p Procfs) TreeCPU(root int) (time.Duration, error) {
	all, err := p.processes()
	if err != nil {
		return 0, err
	}
	if _, ok := all[root]; !ok {
		return 0, fmt.Errorf("process %d: %w", root, fs.ErrNotExist)
	}
	var sum time.Duration
	for pid := range all {
		if descends(all, pid, root) {
			sum += all[pid].cpu
		}
	}
	return sum, nil
}

// descends reports whether pid is root, or below it.
func descends(all map[int]proc, pid, root int) bool {
	// A process is read while others end, so the parents may form no tree: no
	// path is longer than the number of processes.
	for range len(all) {
		if pid == root {
			return true
		}
		p, ok := all[pid]
		if !ok {
			return false
		}
		pid = p.parent
	}
	return false
}

func (p Procfs) processes() (map[int]proc, error) {
	entries, err := fs.ReadDir(p.FS, ".")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := make(map[int]proc)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		text, err := fs.ReadFile(p.FS, path.Join(entry.Name(), "stat"))
		if err != nil {
			continue // it has ended since the folder was listed
		}
		if all[pid], err = parseStat(string(text)); err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return all, nil
}

// parseStat reads a line of /proc/PID/stat. The second field, the name of the
// program in parentheses, may itself hold spaces and parentheses, so fields
// are counted from the last one that closes.
func parseStat(line string) (proc, error) {
	_, rest, ok := cutLast(line, ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 15 {
		return proc{}, fmt.Errorf("stat %q: want at least 17 fields", line)
	}
	// proc_pid_stat(5) counts from 1, and the state, which comes first here,
	// is its field 3: ppid is 4; utime, stime, cutime and cstime are 14 to 17.
	parent, err := strconv.Atoi(fields[4-3])
	errs := []error{err}
	var ticks int64
	for _, field := range fields[14-3 : 17-3+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		errs = append(errs, err)
		ticks += n
	}
	if err := errors.Join(errs...); err != nil {
		return proc{}, fmt.Errorf("stat %q: %w", line, err)
	}
	return proc{parent: parent, cpu: time.Duration(ticks) * tick}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Resident is the memory of a process that is there: its resident set, in bytes.
func (p Procfs) Resident(pid int) (int64, error) {
	text, err := fs.ReadFile(p.FS, path.Join(strconv.Itoa(pid), "statm"))
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, err)
	}
	// proc_pid_statm(5): size and resident, in pages.
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("process %d: statm %q: want at least 2 fields", pid, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("process %d: statm %q: %w", pid, text, err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// TreeMemory is the memory of a process and its descendants, in bytes: their
// proportional set size, in which a page that several share counts once.
func (p Procfs) TreeMemory(root int) (int64, error) {
	all, err := p.processes()
	if err != nil {
		return 0, err
	}
	if _, ok := all[root]; !ok {
		return 0, fmt.Errorf("process %d: %w", root, fs.ErrNotExist)
	}
	var sum int64
	for pid := range all {
		if !descends(all, pid, root) {
			continue
		}
		text, err := fs.ReadFile(p.FS, path.Join(strconv.Itoa(pid), "smaps_rollup"))
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		n, err := parsePss(string(text))
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		sum += n
	}
	return sum, nil
}

// parsePss finds the line "Pss: 123 kB" (proc_pid_smaps(5)); its kB are 1024
// bytes.
func parsePss(text string) (int64, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "Pss:" || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		return n << 10, err
	}
	return 0, fmt.Errorf("smaps_rollup %q: want a line such as Pss: 123 kB", text)
}

// Files is how many files a process has open, sockets included.
func (p Procfs) Files(pid int) (int, error) {
	entries, err := fs.ReadDir(p.FS, path.Join(strconv.Itoa(pid), "fd"))
	return len(entries), err
}

// MachineCPU is the CPU time of all processors that was not idle: work,
// interrupts, and what the hypervisor gave to others.
func (p Procfs) MachineCPU() (time.Duration, error) {
	text, err := fs.ReadFile(p.FS, "stat")
	if err != nil {
		return 0, fmt.Errorf("read the machine's CPU time: %w", err)
	}
	return parseMachineStat(string(text))
}

// parseMachineStat reads the first line of /proc/stat: user, nice, system,
// idle, iowait, irq, softirq, steal, and guest times, which user and nice hold
// already (proc_stat(5)).
func parseMachineStat(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("stat %q: want the line cpu with at least 8 numbers", line)
	}
	var ticks int64
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat %q: %w", line, err)
		}
		if idle := i == 3 || i == 4; !idle {
			ticks += n
		}
	}
	return time.Duration(ticks) * tick, nil
}
