//go:build unix

package disk

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// crashDir makes the test binary a process that writes to that folder until it
// is killed, and says what it has been promised.
const crashDir = "EDGE_TEST_DISK_DIR"

// crashLog does so too, with a log in that folder.
const crashLog = "EDGE_TEST_LOG_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir)
		return
	}
	if dir := os.Getenv(crashLog); dir != "" {
		logUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
}

// logUntilKilled writes numbers to a log, and says each when it is written. Who
// finds some begins after them.
func logUntilKilled(dir string) {
	l, frames, intact, err := ReadLog(dir, "log", nil)
	if err == nil && !intact && len(frames) == 0 {
		_, missing := os.Stat(filepath.Join(dir, "log"))
		if missing == nil {
			err = errors.New("log is damaged")
		}
	}
	if err == nil {
		err = l.Rewrite(frames...)
	}
	for i := len(frames); err == nil; i++ {
		if err = l.Write([]byte(strconv.Itoa(i))); err == nil {
			fmt.Println(i)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// What a killed process has written without waiting for the platter is there, and
// what follows it is not torn.
func TestALogOutlivesAKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		last := untilKilled(t, crashLog, dir, 500+137*round, func(string) {})
		_, frames, intact := logOf(t, dir, nil)
		said, err := strconv.Atoi(last)
		if err != nil || !intact || len(frames) <= said {
			t.Fatalf("round %d: %v, intact %v, %d frames: want number %q among them", round, err, intact, len(frames), last)
		}
		for i, frame := range frames {
			if string(frame) != strconv.Itoa(i) {
				t.Fatalf("round %d: frame %d is %q", round, i, frame)
			}
		}
	}
}

// untilKilled runs this test binary with a variable set, hands over each line that
// it says, kills it after so many, and gives the last line.
func untilKilled(t *testing.T, variable, dir string, after int, line func(string)) (last string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		last = lines.Text()
		line(last)
		if i == after {
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the process ended by itself")
	}
	return last
}

// crashNames is how many blobs the process goes round.
const crashNames = 40

// writeUntilKilled puts each blob with rising stamps, and deletes every third
// one right after; a line says up to which stamp a name is deleted for good.
func writeUntilKilled(dir string) {
	s, err := Open(small(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for stamp := int64(1); stamp < 1_000_000; stamp++ {
		n := int(stamp) % crashNames
		s.Put(putOf(numbered(n), 0, stamp))
		if stamp%3 != 0 {
			continue
		}
		if done := s.Delete(keyOf(numbered(n)), 0); done != nil {
			<-done
		}
		fmt.Printf("%d %d\n", n, stamp)
	}
}

// Killed while it writes, a process loses what waited, and nothing that it
// deleted comes back.
func TestKilledWhileWriting(t *testing.T) {
	dir := t.TempDir()
	total := int64(0)
	for round := range 5 {
		deleted := map[int]int64{}
		untilKilled(t, crashDir, dir, 500+137*round, func(line string) {
			name, stamp, _ := strings.Cut(line, " ")
			n, err1 := strconv.Atoi(name)
			upTo, err2 := strconv.ParseInt(stamp, 10, 64)
			if err1 != nil || err2 != nil {
				t.Fatalf("the process said %q", line)
			}
			deleted[n] = upTo
		})
		s := open(t, small(dir))
		for n := range crashNames {
			if got := stampOf(t, s, numbered(n), 0); got != 0 && got <= deleted[n] {
				t.Errorf("round %d: %d: stamp %d is back, though everything up to %d was deleted", round, n, got, deleted[n])
			}
		}
		total += s.Stats().Recovered
		// The next round's stamps start anew.
		for n := range crashNames {
			s.Delete(keyOf(numbered(n)), 0)
		}
		s.Close()
	}
	if total == 0 {
		t.Error("nothing was left after any of the kills")
	}
}
