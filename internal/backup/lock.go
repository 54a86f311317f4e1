package backup

import "errors"

// LockName is the file in a folder of state by which a gateway that runs keeps a
// restore out, and the other way round.
const LockName = "edge.lock"

// OwnerLockName is the file there by which a gateway keeps others from writing into
// the folder: a journal has one writer.
const OwnerLockName = "owner.lock"

// ErrLocked: the folder is in use.
var ErrLocked = errors.New("in use")
