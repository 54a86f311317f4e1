package caddymodule

import "golang.org/x/sys/unix"

// synchronised reports whether the kernel has its clock from elsewhere, such as
// by NTP. One that does not tell is believed.
func synchronised() bool {
	var t unix.Timex // no modes: it only reads
	state, err := unix.Adjtimex(&t)
	return err != nil || state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}
