// Package cli holds the logic of the commands that talk to a running gateway:
// purge, status and explain. Each is a function that takes a struct of settings
// and writers and returns an exit code; it parses no flags and exits nothing.
package cli

import "github.com/edgegw/edge/internal/purge"

// Exit codes of the commands. CI branches on them: they never change meaning.
const (
	ExitDone        = purge.ExitDone        // 0: done, and verified if asked
	ExitUsage       = 2                     // usage, or no selector; nothing was sent or done
	ExitNotAllowed  = purge.ExitNotAllowed  // 3: the gateway, or a target of it, refused the token
	ExitPartial     = purge.ExitPartial     // 4: partial, journaled and still being retried
	ExitRateLimited = purge.ExitRateLimited // 5: rate limited past the deadline
	ExitStale       = purge.ExitStale       // 6: applied, but verification still sees the old version
	ExitGate        = purge.ExitGate        // 7: rollout gate not reached, nothing purged
	ExitUnreachable = 8                     // the gateway is unreachable, or cannot take the call
	ExitInterrupted = 130                   // interrupted here; the gateway goes on (128 + SIGINT)
)
