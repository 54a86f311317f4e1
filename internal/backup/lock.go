package backup

import "errors"

// LockName is the file in a folder of state by which a gateway that runs keeps a
// restore out, and the other way round.
const LockName = "edge.lock"

// ErrLocked: the folder is in use.
var ErrLocked = errors.New("in use")
