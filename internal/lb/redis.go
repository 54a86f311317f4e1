package lb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/redisclient"
)

func init() {
	Discoveries.Register("redis", newRedis, named.Spec{Args: []string{"redis://127.0.0.1:6379/0", "app"}})
}

const (
	// mostLeases bounds what is read of one pool.
	mostLeases = 1000

	// redisPause is the least time between two reads: a hundred replicas that
	// announce themselves at once are read once or twice.
	redisPause = 50 * time.Millisecond
)

// redisLeases finds replicas that announce themselves in Redis. For each there
// is a key with a time to live, edge:replica:POOL:HOST:PORT, which holds a
// lease in JSON; the set edge:replicas:POOL names the addresses, so that
// nothing has to search the key space; a message on the channel of the same
// name makes edge look at once, rather than at its next interval.
type redisLeases struct {
	pool     string
	options  rueidis.ClientOption
	interval time.Duration
	keep     time.Duration
}

// lease is what a replica says about itself. Instance and version are for
// people who look into Redis: edge goes by what a replica answers to checks.
type lease struct {
	Address  string   `json:"address"`
	Instance string   `json:"instance"`
	Version  string   `json:"version"`
	Weight   *float64 `json:"weight"`
}

var poolName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// newRedis reads `redis URL POOL { password TEXT; interval 2s; keep 30s }`.
func newRedis(s named.Spec) (Discovery, error) {
	errs := s.Want(2, 2, "the URL of a Redis and the name under which replicas announce themselves", "password", "interval", "keep")
	d := redisLeases{interval: 2 * time.Second, keep: 30 * time.Second}
	password := ""
	if words, given := s.Options["password"]; given {
		if len(words) != 1 || words[0] == "" {
			errs = append(errs, errors.New("redis password: want one word that is not empty, such as {env.REDIS_PASSWORD}"))
		} else {
			password = words[0]
		}
	}
	for word, to := range sorted(map[string]*time.Duration{"interval": &d.interval, "keep": &d.keep}) {
		if words, given := s.Options[word]; given {
			value, err := oneDuration("redis "+word, words)
			if err != nil {
				errs = append(errs, err)
			}
			*to = value
		}
	}
	if len(s.Args) == 2 {
		options, err := redisclient.Parse(s.Args[0], password)
		if err != nil {
			errs = append(errs, err)
		}
		d.options, d.pool = options, s.Args[1]
		if !poolName.MatchString(d.pool) {
			errs = append(errs, fmt.Errorf("redis pool %q: want letters, digits, hyphens, dots and underscores, such as app", d.pool))
		}
	}
	return d, errors.Join(errs...)
}

func (d redisLeases) index() string { return "edge:replicas:" + d.pool }

func (d redisLeases) key(member string) string { return "edge:replica:" + d.pool + ":" + member }

func (d redisLeases) Run(ctx context.Context, feed Feed) {
	client := redisclient.New(d.options)
	news := make(chan struct{}, 1)
	var listening sync.WaitGroup
	listening.Go(func() { d.listen(ctx, client, news) })
	defer listening.Wait()
	defer client.Close() // first: who listens may be connecting

	known := ledger{keep: d.keep}
	ticker := time.NewTicker(d.interval)
	defer ticker.Stop()
	for {
		found, err := d.read(ctx, client)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			known.failed = true
			feed.Failed(fmt.Errorf("redis %s: %w", d.pool, err))
		default:
			feed.report(known.settle(found, time.Now()), found.problem)
		}
		if !wait(ctx, redisPause) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-news:
		}
	}
}

// listen notes that replicas have announced themselves, until it is over.
func (d redisLeases) listen(ctx context.Context, client *redisclient.Client, news chan<- struct{}) {
	for ctx.Err() == nil {
		_ = client.Receive(ctx, client.B().Subscribe().Channel(d.index()).Build(), func(rueidis.PubSubMessage) {
			select {
			case news <- struct{}{}:
			default: // it is noted
			}
		}) // or the connection has ended: the next interval tells what has been missed
		wait(ctx, d.interval)
	}
}

// reading is what Redis holds at a moment.
type reading struct {
	server  string // which run of which server; "" when it does not say
	list    []announced
	problem error // with some of the leases
}

func (d redisLeases) read(ctx context.Context, client *redisclient.Client) (reading, error) {
	ctx, stop := context.WithTimeout(ctx, redisclient.Timeout)
	defer stop()
	members, err := client.Do(ctx, client.B().Smembers().Key(d.index()).Build()).AsStrSlice()
	if err != nil {
		return reading{}, err
	}
	if len(members) > mostLeases {
		return reading{}, fmt.Errorf("%s has %d members: want at most %d", d.index(), len(members), mostLeases)
	}
	slices.Sort(members)
	r := reading{server: runOf(ctx, client)}
	if len(members) == 0 {
		return r, nil
	}
	keys := make([]string, len(members))
	for i, member := range members {
		keys[i] = d.key(member)
	}
	values, err := client.Do(ctx, client.B().Mget().Key(keys...).Build()).ToArray()
	if err != nil {
		return reading{}, err
	}
	var errs []error
	for i, value := range values {
		text, err := value.ToString()
		if err != nil { // there is none
			d.forget(ctx, client, members[i])
			continue
		}
		a, err := readLease(members[i], text)
		if err != nil {
			errs = append(errs, fmt.Errorf("redis %s: %w", keys[i], err))
			continue
		}
		r.list = append(r.list, a)
	}
	r.problem = errors.Join(errs...)
	return r, nil
}

// runOf tells runs of servers apart: another run may have lost what the last
// one knew. Who may not ask does without.
func runOf(ctx context.Context, client *redisclient.Client) string {
	info, err := client.Do(ctx, client.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(info, "run_id:")
	id, _, _ := strings.Cut(after, "\r\n")
	return id
}

// ended takes a member out of the index, unless it has come back meanwhile.
var ended = rueidis.NewLuaScript(`if redis.call('EXISTS', KEYS[2]) == 0 then return redis.call('SREM', KEYS[1], ARGV[1]) end return 0`)

// forget tidies up after a lease that has ended. That it may fail, or not be
// allowed, does no harm: the member is passed over.
func (d redisLeases) forget(ctx context.Context, client *redisclient.Client, member string) {
	_ = client.Judge(ended.Exec(ctx, client, []string{d.index(), d.key(member)}, []string{member}).Error())
}

// readLease reads what a replica says about itself; member is its address in
// the index, which the lease may repeat.
func readLease(member, text string) (announced, error) {
	var l lease
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return announced{}, fmt.Errorf("%w: want JSON such as {\"address\":\"10.0.0.7:3000\",\"weight\":1}", err)
	}
	address, err := ParseAddress(member)
	if err != nil {
		return announced{}, err
	}
	if l.Address != "" && l.Address != member {
		return announced{}, fmt.Errorf("address %q: want %q, as in its key", l.Address, member)
	}
	a := announced{address: address, weight: 1}
	if l.Weight != nil {
		a.weight = *l.Weight
	}
	if a.weight < 0 || a.weight > math.MaxUint16 {
		return announced{}, fmt.Errorf("weight %v: want a number from 0 to 65535", a.weight)
	}
	return a, nil
}

// ledger is what was known of a pool, and whether a reading may take replicas
// away from it.
type ledger struct {
	keep   time.Duration
	known  []announced
	server string
	empty  bool
	failed bool // since the last reading
	until  time.Time
}

// settle returns the replicas that there are now. After a failure, when another
// server (or the same one, started anew) answers, and when all are gone at once,
// Redis may have lost what it knew: then a replica that is missing stays for the
// time keep, in which those that live announce themselves again.
func (l *ledger) settle(r reading, now time.Time) []announced {
	restarted := l.server != "" && r.server != "" && r.server != l.server
	emptied := len(r.list) == 0 && len(l.known) > 0 && !l.empty
	if l.failed || restarted || emptied {
		l.until = now.Add(l.keep)
	}
	l.failed, l.empty = false, len(r.list) == 0
	if r.server != "" {
		l.server = r.server
	}
	list := slices.Clone(r.list)
	if now.Before(l.until) {
		for _, old := range l.known {
			if !slices.ContainsFunc(list, func(a announced) bool { return a.address == old.address }) {
				list = append(list, old)
			}
		}
	}
	l.known = list
	return list
}
