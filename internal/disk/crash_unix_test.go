//go:build unix

package disk

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// crashDir makes the test binary a process that writes to that folder until it
// is killed, and says what it has been promised.
const crashDir = "EDGE_TEST_DISK_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
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
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		deleted := map[int]int64{}
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			name, stamp, _ := strings.Cut(lines.Text(), " ")
			n, err1 := strconv.Atoi(name)
			upTo, err2 := strconv.ParseInt(stamp, 10, 64)
			if err1 != nil || err2 != nil {
				t.Fatalf("the process said %q", lines.Text())
			}
			deleted[n] = upTo
			if i == 500+137*round {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
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
