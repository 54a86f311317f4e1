package disk

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// Every process of one run of the system has the same name for it.
func TestABootHasAName(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if known := err == nil; known != (Boot() != "") || runtime.GOOS == "linux" && !known {
		t.Fatalf("boot %q, of %q, %v", Boot(), text, err)
	}
	if Boot() == "" {
		return
	}
	again, err := exec.Command("cat", "/proc/sys/kernel/random/boot_id").Output()
	if err != nil || string(again) != Boot()+"\n" {
		t.Errorf("boot %q here, %q in another process, %v", Boot(), again, err)
	}
}
