package control

import (
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// HandoverOrder is the body of POST handover, which only the admin endpoint has: a
// process of the binary is to take over from the one that is asked.
type HandoverOrder struct {
	// Binary is the absolute path.
	Binary string `json:"binary"`
	// Patience is how long it may take to get ready. Default DefaultHandover, and
	// MaxHandover at most.
	Patience unit.Duration `json:"patience,omitzero"`
}

// Handover says that it has.
type Handover struct {
	// Before is the id of the process that was in charge, PID that of the one that is.
	Before int `json:"before"`
	PID    int `json:"pid"`
	// Took is how long it took, the start of the process included.
	Took string `json:"took"`
}

// The bounds of HandoverOrder.Patience.
const (
	DefaultHandover = time.Minute
	MaxHandover     = 10 * time.Minute
)
