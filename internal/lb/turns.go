package lb

import (
	"context"
	"net"
	"time"

	"github.com/edgegw/edge/internal/transport"
)

// mostDials is how many connections to one replica are being made at a time. A
// burst of thousands would fill the queue in which the replica's kernel keeps
// those that it has not accepted; what does not fit there is dropped, and sent
// again a second later, by when the time-out is near. A request that waits for
// its turn takes a connection that becomes free meanwhile.
const mostDials = 64

// turns lets so many dial at a time; the others wait in turn.
type turns chan struct{}

// take makes a dial wait for its turn, for as long as the dial itself may take
// then. As no connection was made, nothing was sent.
func (t turns) take(patience time.Duration, dial dialContext) dialContext {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		select {
		case t <- struct{}{}: // No timer, as a rule.
		default:
			over := time.NewTimer(patience)
			defer over.Stop()
			select {
			case t <- struct{}{}:
			case <-over.C:
				return nil, &dialError{Err: transport.ErrNoTurn}
			case <-ctx.Done():
				return nil, &dialError{Err: ctx.Err()}
			}
		}
		defer func() { <-t }()
		return dial(ctx, network, address)
	}
}
