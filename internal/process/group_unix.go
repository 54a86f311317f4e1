//go:build unix

package process

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// signalGroup signals every process of a child's group.
func signalGroup(pid int, signal syscall.Signal) error { return syscall.Kill(-pid, signal) }

// credentialOf is nil for the user that this process runs as.
func credentialOf(name string) (*syscall.Credential, error) {
	if name == "" {
		return nil, nil
	}
	who, err := user.Lookup(name)
	if err != nil {
		if who, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("user %q: want the name or number of a user of this machine", name)
		}
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	if int(uid) == os.Getuid() {
		return nil, nil
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	groups, err := who.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("user %q: groups: %w", name, err)
	}
	for _, group := range groups {
		if id, err := strconv.ParseUint(group, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(id))
		}
	}
	return c, nil
}
