//go:build !(linux || darwin || freebsd)

package transport

import "syscall"

// supported is false where nothing tells whether an idle connection still works:
// net/http, which reads it all the time, is the better transport there.
const supported = false

func lookAt(syscall.RawConn) func() standing { return func() standing { return noisy } }
