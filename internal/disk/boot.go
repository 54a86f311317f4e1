package disk

import (
	"os"
	"strings"
)

// Boot names this run of the operating system: the same for every process until
// the machine goes down, and another one afterwards. What was written to a file
// by a process that was killed is there as long as Boot is the same; else only
// what was synced is. "" where the system does not tell, as all but Linux
// (random(4), boot_id).
func Boot() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
