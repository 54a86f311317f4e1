// Package sharedcache keeps values in a Redis that several nodes use as a cache.
// Nobody waits for it: a look takes a few milliseconds at most, and a Redis that is
// slow or gone is left alone for a while. What a value means is the caller's.
package sharedcache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/sony/gobreaker/v2"

	"github.com/edgegw/edge/internal/redisclient"
	"github.com/edgegw/edge/internal/unit"
)

// Config says how much is kept there. The zero value, but for Size, is the default.
type Config struct {
	// Size is the most that what this node has put there may take at a time: values
	// and keys. Required: nothing is kept without it.
	Size unit.Bytes `json:"size,omitempty"`
	// MaxObject is the largest value. Default 256KiB, and at most 8MiB.
	MaxObject unit.Bytes `json:"max_object,omitempty"`
	// Keep is how long a value stays, at most. Default 10m, and at most 24h.
	Keep unit.Duration `json:"keep,omitempty"`
	// Timeout is how long a look may take. Default 5ms, and at most 100ms.
	Timeout unit.Duration `json:"timeout,omitempty"`
}

const (
	leastSize    = 1 << 20
	largestValue = 8 << 20
	longestKeep  = 24 * time.Hour
	longestLook  = 100 * time.Millisecond
)

// WithDefaults is the configuration as it is meant.
func (c Config) WithDefaults() Config {
	c.MaxObject = unit.Bytes(c.MaxObject.Or(256 << 10))
	c.Keep = unit.Duration(c.Keep.Or(10 * time.Minute))
	c.Timeout = unit.Duration(c.Timeout.Or(5 * time.Millisecond))
	return c
}

// Validate gives every mistake at once.
func (c Config) Validate() error {
	var errs []error
	if c.Size < leastSize {
		errs = append(errs, fmt.Errorf("cache shared %s: want %s or more", c.Size, unit.Bytes(leastSize)))
	}
	if c.MaxObject < 0 || c.MaxObject > largestValue {
		errs = append(errs, fmt.Errorf("cache shared max_object %s: want at most %s", c.MaxObject, unit.Bytes(largestValue)))
	}
	if c.Keep < 0 || c.Keep.D() > longestKeep {
		errs = append(errs, fmt.Errorf("cache shared keep %s: want at most %s", c.Keep, unit.Duration(longestKeep)))
	}
	if c.Timeout < 0 || c.Timeout.D() > longestLook {
		errs = append(errs, fmt.Errorf("cache shared timeout %s: want at most %s", c.Timeout, unit.Duration(longestLook)))
	}
	return errors.Join(errs...)
}

const (
	// looksAtOnce bounds the looks under way, which may hang on a dead connection
	// though nobody waits for them any more.
	looksAtOnce = 64
	// writers write what is put, of which so many wait at most.
	writers  = 2
	maxQueue = 256
	// writePatience is how long a write may take: nobody waits for it.
	writePatience = time.Second
	// failures in a row open the breaker, for restFor.
	failures = 5
	restFor  = 5 * time.Second
)

// Cache is a cache in Redis. It is safe for concurrent use.
type Cache struct {
	config Config
	client *redisclient.Client
	prefix string
	// breaker is for looks and writes alike.
	breaker *gobreaker.CircuitBreaker[looked]
	looks   chan struct{}
	queue   chan put
	budget  budget
	stop    context.CancelFunc
	work    sync.WaitGroup

	gets, found, failed, skipped, puts, refused atomic.Int64
}

// put is a value that waits to be written; without encode, a key to be dropped.
type put struct {
	key    string
	ttl    time.Duration
	encode func() []byte
}

// looked is what a look has found.
type looked struct {
	value []byte
	ago   time.Duration
	found bool
}

// Stats is the cache at one moment. Counts run from its start.
type Stats struct {
	// Gets are looks, Found those that found something. Failed are looks and writes
	// that took too long or went wrong, Skipped those that were not tried, since
	// Redis was given a rest or too many were under way.
	Gets    int64 `json:"gets"`
	Found   int64 `json:"found"`
	Failed  int64 `json:"failed"`
	Skipped int64 `json:"skipped"`
	// Puts are values that were written, Refused those for which there was no room.
	Puts    int64 `json:"puts"`
	Refused int64 `json:"refused"`
	// Bytes is what this node has there now, at most; Size what it may have.
	Bytes int64 `json:"bytes"`
	Size  int64 `json:"size"`
	// Resting: Redis is left alone for a while.
	Resting bool `json:"resting,omitempty"`
}

// Open begins to use the Redis at a URL, under a prefix. It waits for nobody.
func Open(c Config, url, password, prefix string) (*Cache, error) {
	options, err := redisclient.Parse(url, password)
	if err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.WithDefaults()
	options = redisclient.Apart(redisclient.Within(options, writePatience), looksAtOnce/4)
	ctx, stop := context.WithCancel(context.Background())
	s := &Cache{
		config: c, client: redisclient.New(options), prefix: prefix, stop: stop,
		looks: make(chan struct{}, looksAtOnce), queue: make(chan put, maxQueue),
		breaker: gobreaker.NewCircuitBreaker[looked](gobreaker.Settings{
			Timeout: restFor, ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= failures },
		}),
	}
	s.budget.size = int64(c.Size)
	for range writers {
		s.work.Go(func() { s.write(ctx) })
	}
	return s, nil
}

// Close ends what is under way, and waits for it. Later looks find nothing.
func (s *Cache) Close() {
	s.stop()
	s.client.Close()
	s.work.Wait()
	for range looksAtOnce {
		s.looks <- struct{}{} // nobody else gets in
	}
}

// Config is the configuration, with its defaults.
func (s *Cache) Config() Config { return s.config }

// errSlow: the look was given up.
var errSlow = errors.New("redis is slow")

// Get gives what was put under a key, and how long ago, by Redis' clock. It takes
// no longer than the time-out, whatever becomes of the look.
func (s *Cache) Get(key string) (value []byte, ago time.Duration, found bool) {
	s.gets.Add(1)
	select {
	case s.looks <- struct{}{}:
	default:
		s.skipped.Add(1)
		return nil, 0, false
	}
	result := make(chan looked, 1)
	go func() { // Close waits for it
		defer func() { <-s.looks }()
		l, err := s.breaker.Execute(func() (looked, error) { return s.look(key) })
		s.count(err)
		result <- l
	}()
	timer := time.NewTimer(s.config.Timeout.D())
	defer timer.Stop()
	select {
	case l := <-result:
		if l.found {
			s.found.Add(1)
		}
		return l.value, l.ago, l.found
	case <-timer.C:
		return nil, 0, false
	}
}

// look asks Redis. An answer that comes too late for whoever waited is a failure.
func (s *Cache) look(key string) (looked, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), writePatience)
	defer cancel()
	b := s.client.B()
	both := s.client.DoMulti(ctx, b.Get().Key(s.prefix+key).Build(), b.Pttl().Key(s.prefix+key).Build())
	text, err := both[0].AsBytes()
	late := time.Since(began) > s.config.Timeout.D()
	switch {
	case late:
		return looked{}, errSlow
	case rueidis.IsRedisNil(err):
		return looked{}, nil
	case err != nil:
		return looked{}, err
	}
	ms, err := both[1].AsInt64()
	if err != nil {
		return looked{}, err
	}
	if len(text) == 0 || ms <= 0 {
		return looked{}, nil // it has ended in between
	}
	body, ttl, ok := open(text)
	left := time.Duration(ms) * time.Millisecond
	if !ok || left > ttl {
		return looked{}, nil // not ours
	}
	return looked{value: body, ago: ttl - left, found: true}, nil
}

func (s *Cache) count(err error) {
	switch {
	case err == nil:
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
		s.skipped.Add(1)
	default:
		s.failed.Add(1)
	}
}

// Put has a value stored for a while, in place of another. It does not block: where
// Redis does not keep up, or there is no room, nothing is stored. encode is called on
// another goroutine, or never; nil is nothing to store.
func (s *Cache) Put(key string, size int64, ttl time.Duration, encode func() []byte) {
	if size > int64(s.config.MaxObject) || ttl < time.Second {
		return
	}
	select {
	case s.queue <- put{key, min(ttl, s.config.Keep.D()), encode}:
	default:
		s.skipped.Add(1)
	}
}

// Drop removes what is under a key, when Redis gets to it. It does not block, and
// may come to nothing.
func (s *Cache) Drop(key string) {
	select {
	case s.queue <- put{key: key}:
	default:
		s.skipped.Add(1)
	}
}

func (s *Cache) write(ctx context.Context) {
	for {
		select {
		case p := <-s.queue:
			s.writeOne(ctx, p)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Cache) writeOne(ctx context.Context, p put) {
	if s.breaker.State() == gobreaker.StateOpen {
		s.skipped.Add(1)
		return
	}
	if p.encode == nil {
		s.send(ctx, s.client.B().Del().Key(s.prefix+p.key).Build())
		return
	}
	value := p.encode()
	if value == nil {
		return
	}
	sealed := seal(value, p.ttl)
	if !s.budget.take(p.key, int64(len(sealed)+len(p.key)+len(s.prefix)), p.ttl, time.Now()) {
		s.refused.Add(1)
		return
	}
	if s.send(ctx, s.client.B().Set().Key(s.prefix+p.key).Value(rueidis.BinaryString(sealed)).Px(p.ttl).Build()) {
		s.puts.Add(1)
	}
}

// send has a command carried out, by way of the breaker.
func (s *Cache) send(ctx context.Context, command rueidis.Completed) bool {
	_, err := s.breaker.Execute(func() (looked, error) {
		ctx, cancel := context.WithTimeout(ctx, writePatience)
		defer cancel()
		return looked{}, s.client.Judge(s.client.Do(ctx, command).Error())
	})
	s.count(err)
	return err == nil
}

// Stats reads the counters.
func (s *Cache) Stats() Stats {
	return Stats{
		Gets: s.gets.Load(), Found: s.found.Load(), Failed: s.failed.Load(), Skipped: s.skipped.Load(),
		Puts: s.puts.Load(), Refused: s.refused.Load(), Bytes: s.budget.used(time.Now()), Size: s.budget.size,
		Resting: s.breaker.State() == gobreaker.StateOpen,
	}
}
