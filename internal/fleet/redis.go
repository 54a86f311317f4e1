package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/edgegw/edge/internal/redisclient"
)

// redisBoard is a board in Redis.
type redisBoard struct {
	client  *redisclient.Client
	prefix  string
	keep    int
	timeout time.Duration
	// token is the highest that was seen: Redis is told with each call.
	token atomic.Uint64
}

// readMost is how many orders are read at once: one may have a quarter of a
// megabyte.
const readMost = 16

func newRedisBoard(o rueidis.ClientOption, name string, keep int, timeout time.Duration) *redisBoard {
	client := redisclient.New(redisclient.Within(o, timeout))
	// The braces keep all keys at one node of a cluster.
	return &redisBoard{client: client, prefix: "edge:fleet:{" + name + "}:", keep: keep, timeout: timeout}
}

// keyNames are those of the scripts, in their sequence.
var keyNames = []string{"state", "beats", "marks", "names", "log", "orders", "owners", "keys", "done", "replicas", "gone"}

func (b *redisBoard) key(name string) string { return b.prefix + name }

// run calls a script, with the caller's floor and arguments.
func (b *redisBoard) run(ctx context.Context, script string, floor uint64, args ...any) rueidis.RedisResult {
	ctx, stop := context.WithTimeout(ctx, b.timeout)
	defer stop()
	keys := make([]string, 0, len(keyNames))
	for _, name := range keyNames {
		keys = append(keys, b.key(name))
	}
	result := scripts[script].Exec(ctx, b.client, keys, append([]string{rand.Text(), text(floor) + ":" + text(b.token.Load())}, words(args)...))
	_ = b.client.Judge(result.Error())
	return result
}

// words are arguments as Redis takes them.
func words(args []any) []string {
	var all []string
	for _, one := range args {
		if b, ok := one.([]byte); ok {
			all = append(all, rueidis.BinaryString(b))
		} else {
			all = append(all, fmt.Sprint(one))
		}
	}
	return all
}

func (b *redisBoard) join(ctx context.Context, id, name string, lease time.Duration, floor uint64) (ticket, View, error) {
	r := newReply(b.run(ctx, "join", floor, id, name, lease.Milliseconds()))
	if first := r.text(); first == "lease" {
		other := time.Duration(r.number()) * time.Millisecond
		if r.err == nil {
			r.err = fmt.Errorf("%w %s: want %s, as the other members of the fleet have", errLease, lease, other)
		}
		return ticket{}, View{}, r.err
	}
	r.at = 0
	t := ticket{id: id, term: r.number()}
	v := b.view(r)
	t.incarnation = v.Incarnation
	return t, v, r.err
}

func (b *redisBoard) renew(ctx context.Context, t ticket, applied, drained, floor uint64) (View, error) {
	r := newReply(b.run(ctx, "renew", floor, t.incarnation, t.id, t.term, applied, drained))
	if r.text() == "gone" {
		return View{}, errGone
	}
	return b.view(r), r.err
}

func (b *redisBoard) look(ctx context.Context, floor uint64) (View, error) {
	r := newReply(b.run(ctx, "look", floor))
	v := readView(r.list, &r.err)
	b.sawToken(v)
	return v, r.err
}

// view reads the next part.
func (b *redisBoard) view(r *reply) View {
	v := readView(r.parts(), &r.err)
	b.sawToken(v)
	return v
}

func (b *redisBoard) sawToken(v View) {
	for {
		highest := b.token.Load()
		if v.Token <= highest || b.token.CompareAndSwap(highest, v.Token) {
			return
		}
	}
}

func (b *redisBoard) next(ctx context.Context, floor uint64) (uint64, bool, error) {
	r := newReply(b.run(ctx, "next", floor))
	return r.number(), r.text() == "1", r.err
}

func (b *redisBoard) announce(ctx context.Context, e entry, floor uint64) (place, error) {
	r := newReply(b.run(ctx, "announce", floor, e.generation, e.from, e.order, b.keep))
	return place{Incarnation: r.text(), Position: r.number()}, r.err
}

func (b *redisBoard) read(ctx context.Context, after uint64, wait time.Duration) ([]entry, error) {
	ctx, stop := context.WithTimeout(ctx, wait+b.timeout)
	defer stop()
	log, from := b.key("log"), text(after)+"-0"
	asked := b.client.B().Xread().Count(readMost)
	var command rueidis.Completed
	if wait > 0 {
		command = asked.Block(max(wait, time.Millisecond).Milliseconds()).Streams().Key(log).Id(from).Build() // zero means for ever
	} else {
		command = asked.Streams().Key(log).Id(from).Build()
	}
	streams, err := b.client.Do(ctx, command).AsXRead()
	if err != nil && !rueidis.IsRedisNil(err) {
		return nil, err
	}
	var found []entry
	for _, message := range streams[log] {
		e, err := readEntry(message)
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, nil
}

func readEntry(m rueidis.XRangeEntry) (entry, error) {
	id, _, _ := strings.Cut(m.ID, "-")
	position, err := strconv.ParseUint(id, 10, 64)
	generation, err2 := strconv.ParseUint(m.FieldValues["g"], 10, 64)
	order, ok := m.FieldValues["order"]
	if err != nil || err2 != nil || !ok {
		return entry{}, fmt.Errorf("fleet log: entry %s is not of this format", m.ID)
	}
	return entry{position: position, generation: generation, from: m.FieldValues["from"], order: []byte(order)}, nil
}

func (b *redisBoard) evict(ctx context.Context, incarnation string, m Seen) (bool, error) {
	n, err := b.run(ctx, "evict", 0, incarnation, m.ID, m.Beat).AsInt64()
	return n == 1, err
}

func (b *redisBoard) settle(ctx context.Context, incarnation string) error {
	return b.run(ctx, "settle", 0, incarnation).Error()
}

func (b *redisBoard) leave(ctx context.Context, t ticket) error {
	return b.run(ctx, "leave", 0, t.incarnation, t.id, t.term).Error()
}

// time is what Redis' clock says.
func (b *redisBoard) time(ctx context.Context) (time.Time, error) {
	ctx, stop := context.WithTimeout(ctx, b.timeout)
	defer stop()
	parts, err := b.client.Do(ctx, b.client.B().Time().Build()).AsIntSlice() // seconds, and microseconds of the next one
	if err == nil && len(parts) != 2 {
		err = errReply
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(parts[0], parts[1]*int64(time.Microsecond)), nil
}

// close ends the connections.
func (b *redisBoard) close() { b.client.Close() }

func text(n uint64) string { return strconv.FormatUint(n, 10) }

// errReply is for an answer that no script of ours gives.
var errReply = errors.New("redis: an answer that is none of this script's")

// reply reads what a script answers, one part after the other.
type reply struct {
	list []rueidis.RedisMessage
	at   int
	err  error
}

func newReply(result rueidis.RedisResult) *reply {
	list, err := result.ToArray()
	return &reply{list: list, err: err}
}

func (r *reply) part() (none rueidis.RedisMessage) {
	if r.err == nil && r.at >= len(r.list) {
		r.err = errReply
	}
	if r.err != nil {
		return none
	}
	r.at++
	return r.list[r.at-1]
}

// parts reads a list.
func (r *reply) parts() []rueidis.RedisMessage {
	m := r.part()
	list, err := m.ToArray()
	if err != nil && r.err == nil {
		r.err = errReply
	}
	return list
}

func (r *reply) text() string {
	m := r.part()
	s, err := m.ToString()
	if err != nil && r.err == nil {
		r.err = errReply
	}
	return s
}

func (r *reply) number() uint64 {
	n, err := strconv.ParseUint(r.text(), 10, 64)
	if err != nil && r.err == nil {
		r.err = errReply
	}
	return n
}

// pairs reads a hash.
func (r *reply) pairs() map[string]string {
	list, found := r.parts(), make(map[string]string)
	for i := 0; i+1 < len(list); i += 2 {
		name, _ := list[i].ToString()
		found[name], _ = list[i+1].ToString()
	}
	return found
}

func readView(list []rueidis.RedisMessage, err *error) View {
	r := &reply{list: list, err: *err}
	v := View{Incarnation: r.text(), Settled: r.text() == "1", Generation: r.number(), Position: r.number()}
	beats, marks, names := r.pairs(), r.pairs(), r.pairs()
	for id, beat := range beats {
		applied, drained, _ := strings.Cut(marks[id], ":")
		m := Seen{ID: id, Name: names[id], Beat: beat}
		// What cannot be read counts as nothing, and is waited for.
		m.Applied, _ = strconv.ParseUint(applied, 10, 64)
		m.Drained, _ = strconv.ParseUint(drained, 10, 64)
		v.Members = append(v.Members, m)
	}
	slices.SortFunc(v.Members, func(a, b Seen) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	v.Token, v.Caller = r.number(), r.text()
	*err = r.err
	return v
}
