package measure

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Meter reads the CPU time of those who take part in a sample.
type Meter struct {
	Proc Procfs
	// Server and Origin are the roots of their process trees.
	Server, Origin int
}

// Reading is a state of the meter; two of them make a Usage.
type Reading struct {
	at                            time.Time
	machine, server, origin, self time.Duration
}

// Usage is what was used between two readings.
type Usage struct {
	Elapsed                        time.Duration
	Server, Origin, Client, Others time.Duration
}

// Read takes a reading.
func (m Meter) Read() (Reading, error) {
	machine, errMachine := m.Proc.MachineCPU()
	server, errServer := m.Proc.TreeCPU(m.Server)
	origin, errOrigin := m.Proc.TreeCPU(m.Origin)
	self, errSelf := selfCPU()
	return Reading{at: time.Now(), machine: machine, server: server, origin: origin, self: self},
		errors.Join(errMachine, errServer, errOrigin, errSelf)
}

// selfCPU is the time of this process without its children, the load generator
// among them.
func selfCPU() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, os.NewSyscallError("getrusage", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// Since is the usage between an earlier reading and this one, in which the
// load generator used client. What nobody who took part has used is the
// others'.
func (r Reading) Since(earlier Reading, client time.Duration) Usage {
	u := Usage{
		Elapsed: r.at.Sub(earlier.at),
		Server:  r.server - earlier.server,
		Origin:  r.origin - earlier.origin,
		Client:  client,
	}
	known := u.Server + u.Origin + u.Client + r.self - earlier.self
	// Clocks of different grain: the sum of the parts may exceed the whole.
	u.Others = max(0, r.machine-earlier.machine-known)
	return u
}

// Cores is how many cores a CPU time kept busy.
func (u Usage) Cores(cpu time.Duration) float64 {
	return cpu.Seconds() / u.Elapsed.Seconds()
}
