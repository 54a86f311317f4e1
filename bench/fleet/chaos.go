package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/internal/purge/standin"
)

// mischief is one thing that goes wrong, and is over when it returns.
type mischief struct {
	name string
	do   func(context.Context, *site, *rand.Rand) error
}

var mischiefs = []mischief{
	{"kill -9 of a node, back after up to 3 s", killNode},
	{"a node stopped for 20 s and resumed", func(ctx context.Context, s *site, dice *rand.Rand) error {
		return stopNode(ctx, s, dice, 20*time.Second)
	}},
	{"a node stopped for up to 8 s and resumed", func(ctx context.Context, s *site, dice *rand.Rand) error {
		return stopNode(ctx, s, dice, gateway.UpTo(dice, 8*time.Second))
	}},
	{"Redis killed, empty again after up to 10 s", killRedis},
	{"Redis stopped for up to 10 s and resumed", stopRedis},
	{"Redis flushed", func(_ context.Context, s *site, _ *rand.Rand) error { return s.redis.Flush() }},
	{"a node cut off from Redis for up to 15 s", cutOff},
	{"Cloudflare's next 20 calls fail", failCloudflare},
}

// wreak does mischief until ctx is done, one after the other with calm between:
// a pause in which deploys and purges get through now and then.
func (r *record) wreak(ctx context.Context, until context.Context, s *site, seed uint64) (map[string]int, error) {
	dice := rand.New(rand.NewPCG(seed, 1))
	done := make(map[string]int)
	for round := 0; until.Err() == nil; round++ {
		// Each once, in another order each time.
		for _, i := range dice.Perm(len(mischiefs)) {
			if !gateway.Pause(until, 2*time.Second+gateway.UpTo(dice, 8*time.Second)) {
				return done, nil
			}
			log.Print(mischiefs[i].name)
			over := r.trouble(mischiefs[i].name)
			if err := mischiefs[i].do(ctx, s, dice); err != nil {
				return done, fmt.Errorf("%s: %w", mischiefs[i].name, err)
			}
			over()
			done[mischiefs[i].name]++
		}
	}
	return done, nil
}

func killNode(ctx context.Context, s *site, dice *rand.Rand) error {
	n := s.nodes[dice.IntN(nodes)]
	n.leave("was killed")
	n.server.Kill()
	gateway.Pause(ctx, gateway.UpTo(dice, 3*time.Second))
	if err := s.run(n); err != nil {
		return err
	}
	if err := s.await(ctx, n, patience, "has replicas after its start", serves); err != nil {
		return err
	}
	n.back()
	return nil
}

func stopNode(ctx context.Context, s *site, dice *rand.Rand, d time.Duration) error {
	n := s.nodes[dice.IntN(nodes)]
	n.leave("was stopped")
	if err := gateway.Freeze(ctx, n.server, d); err != nil {
		return err
	}
	if err := s.await(ctx, n, patience, "has replicas after it was resumed", serves); err != nil {
		return err
	}
	n.back()
	return nil
}

func killRedis(ctx context.Context, s *site, dice *rand.Rand) error {
	return s.redis.Outage(ctx, gateway.UpTo(dice, 10*time.Second))
}

func stopRedis(ctx context.Context, s *site, dice *rand.Rand) error {
	return s.redis.Freeze(ctx, gateway.UpTo(dice, 10*time.Second))
}

// cutOff parts a node from Redis, and from nobody else: its visitors are to get
// their answers meanwhile.
func cutOff(ctx context.Context, s *site, dice *rand.Rand) error {
	n := s.nodes[dice.IntN(nodes)]
	n.line.Cut()
	defer n.line.Mend()
	gateway.Pause(ctx, gateway.UpTo(dice, 15*time.Second))
	return nil
}

// failCloudflare is over when its calls have failed, or nobody has called for long.
func failCloudflare(ctx context.Context, s *site, dice *rand.Rand) error {
	faults := []standin.Fault{standin.TooManyRequests, standin.ServerError, standin.BadGateway, standin.ResetAfter, standin.SuccessFalse}
	before := s.api.Requests()
	for range failures {
		s.api.Fail(1, faults[dice.IntN(len(faults))])
	}
	for range 200 {
		if s.api.Requests() >= before+failures || !gateway.Pause(ctx, 100*time.Millisecond) {
			break
		}
	}
	s.api.Recover()
	return nil
}

// failures is how many calls of Cloudflare fail.
const failures = 20
