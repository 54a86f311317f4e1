package deploy

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// GuardConfig says when a version counts as worse than the one it is to
// replace. The zero value is the default.
type GuardConfig struct {
	// Off compares nothing.
	Off bool `json:"off,omitempty"`
	// Errors is how much larger the share of failed requests must be, in
	// points, and it must have doubled. Default: 2%.
	Errors unit.Ratio `json:"errors,omitempty"`
	// Latency is how many times the median time to the response header must be
	// the old one's. Default: 2. At least 1.2.
	Latency float64 `json:"latency,omitempty"`
	// Assets is how much larger the share of visitors must be who got a 404, or
	// HTML, for an asset, in points, and it must have doubled. Default: 5%.
	Assets unit.Ratio `json:"assets,omitempty"`
	// Warmup is how long after a version's first replica times are not
	// compared: a new process is slow. Default: 30s.
	Warmup unit.Duration `json:"warmup,omitempty"`
	// FallBack sends visitors to the replicas of the old version, while they
	// last, once the new one is found to be worse.
	FallBack bool `json:"fall_back,omitempty"`
}

// withDefaults is the configuration as it is meant.
func (c GuardConfig) withDefaults() GuardConfig {
	if c.Errors == 0 {
		c.Errors = 0.02
	}
	if c.Latency == 0 {
		c.Latency = 2
	}
	if c.Assets == 0 {
		c.Assets = 0.05
	}
	c.Warmup = unit.Duration(c.Warmup.Or(30 * time.Second))
	return c
}

// Validate gives every mistake of the configuration.
func (c GuardConfig) Validate() error {
	var errs []error
	share := func(word string, r unit.Ratio) {
		if r < 0 || r > 1 {
			errs = append(errs, fmt.Errorf("guard %s %v: want a share from 0%% to 100%%", word, float64(r)))
		}
	}
	share("errors", c.Errors)
	share("assets", c.Assets)
	if c.Latency != 0 && (c.Latency < leastFactor || c.Latency > mostFactor) {
		errs = append(errs, fmt.Errorf("guard latency %v: want a factor from %v to %v", c.Latency, leastFactor, mostFactor))
	}
	if c.Warmup < 0 {
		errs = append(errs, fmt.Errorf("guard warmup %v: want a duration such as 30s", c.Warmup))
	}
	return errors.Join(errs...)
}

// Factors of the median that may be asked for.
const (
	leastFactor = 1.2
	mostFactor  = 100.0
)

// What is compared.
const (
	comparedErrors  = "errors"
	comparedLatency = "latency"
	comparedMissing = "missing assets"
	comparedHTML    = "html for assets"
	comparisons     = 4
)

const (
	// falseAlarms is the most that the probability of a false alarm may be for
	// one deploy, all comparisons and all looks taken together.
	falseAlarms = 0.005
	// firstLook is after how many of the new version's requests the first look
	// is taken; each later one when they have doubled. It is not sooner, though
	// the test would be as good, so that one stumble is no verdict; and not later,
	// because breakers soon keep requests from what fails. Medians need more.
	firstLook    = 10
	firstMedians = 100
	// enough of the old version's, to compare with.
	enough = 20
)

// Tally is what the answers of one version were like.
type Tally struct {
	// Requests and Failures are the replicas'.
	Requests int64 `json:"requests"`
	Failures int64 `json:"failures"`
	// Times counts answers by the time to the response header.
	Times Times `json:"-"`
	// Visitors are those who got an answer; Missing and HTML those of them who got
	// a 404, or a page, for an asset.
	Visitors int64 `json:"visitors"`
	Missing  int64 `json:"missing"`
	HTML     int64 `json:"html"`
}

// Difference is one way in which a version is worse than another.
type Difference struct {
	// What is errors, latency, missing assets or html for assets.
	What string `json:"what"`
	// Old and New are shares, or medians in seconds; of so many.
	Old   float64 `json:"old"`
	New   float64 `json:"new"`
	OfOld int64   `json:"of_old"`
	OfNew int64   `json:"of_new"`
	// P is how likely the difference, or a larger one, would be by chance;
	// Below is what it had to be below at this look.
	P     float64 `json:"p"`
	Below float64 `json:"below"`
}

// String reads "errors: 12.0% of 250, where it was 0.4% of 2500".
func (d Difference) String() string {
	if d.What == comparedLatency {
		return fmt.Sprintf("latency: median %s of %d, where it was %s of %d", seconds(d.New), d.OfNew, seconds(d.Old), d.OfOld)
	}
	return fmt.Sprintf("%s: %.1f%% of %d, where it was %.1f%% of %d", d.What, 100*d.New, d.OfNew, 100*d.Old, d.OfOld)
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond)
}

// looks counts the looks that were taken at each comparison, so that looking
// again and again does not make a false alarm likely. The zero value is ready.
type looks struct {
	taken map[string]int
	next  map[string]int64
}

// due reports whether it is time to look at a comparison of which the new
// version has n, and what the probability has to be below then.
//
// Looks are taken when n has doubled, and the k-th may raise a false alarm with
// probability a/(k(k+1)), a being the comparison's share of falseAlarms. These
// add up to a at most, however many looks there are and however they depend on
// each other (Boole's inequality).
func (l *looks) due(what string, n, first int64) (below float64, due bool) {
	if l.taken == nil {
		l.taken, l.next = make(map[string]int), make(map[string]int64)
	}
	if n < max(first, l.next[what]) {
		return 0, false
	}
	l.taken[what]++
	l.next[what] = 2 * n
	k := float64(l.taken[what])
	return falseAlarms / comparisons / (k * (k + 1)), true
}

// compare takes a look at what two versions answered, and gives the ways in
// which the new one is worse. Errors and times are compared of the same time;
// assets with what the old version's visitors got before: during a rollout each
// version is asked for what only the other has.
func (l *looks) compare(c GuardConfig, old, fresh Tally) []Difference {
	c = c.withDefaults()
	var worse []Difference
	share := func(what string, oldBad, oldAll, newBad, newAll int64, least float64) {
		if oldAll < enough {
			return
		}
		below, due := l.due(what, newAll, firstLook)
		if !due {
			return
		}
		d := Difference{
			What: what, Old: float64(oldBad) / float64(oldAll), New: float64(newBad) / float64(newAll),
			OfOld: oldAll, OfNew: newAll, P: fisher(oldBad, oldAll, newBad, newAll), Below: below,
		}
		if d.P < below && d.New-d.Old >= least && d.New >= 2*d.Old {
			worse = append(worse, d)
		}
	}
	share(comparedErrors, old.Failures, old.Requests, fresh.Failures, fresh.Requests, float64(c.Errors))
	share(comparedMissing, old.Missing, old.Visitors, fresh.Missing, fresh.Visitors, float64(c.Assets))
	share(comparedHTML, old.HTML, old.Visitors, fresh.HTML, fresh.Visitors, float64(c.Assets))
	if old.Times.count() < firstMedians {
		return worse
	}
	if below, due := l.due(comparedLatency, fresh.Times.count(), firstMedians); due {
		d := Difference{
			What: comparedLatency, Old: old.Times.median(), New: fresh.Times.median(),
			OfOld: old.Times.count(), OfNew: fresh.Times.count(), P: mannWhitney(old.Times, fresh.Times), Below: below,
		}
		if d.P < below && d.New >= c.Latency*d.Old && d.New-d.Old >= leastSlower {
			worse = append(worse, d)
		}
	}
	return worse
}

// leastSlower is a difference of medians, in seconds, that no visitor notices.
const leastSlower = 0.005

// fisher is how likely it would be by chance that so many of the bad ones, or
// more, are the new version's: the one-sided exact test of a two-by-two table
// (R. A. Fisher, The Logic of Inductive Inference, 1935), the upper tail of the
// hypergeometric distribution. It needs no large numbers.
func fisher(oldBad, oldAll, newBad, newAll int64) float64 {
	all, bad := oldAll+newAll, oldBad+newBad
	if newBad == 0 || bad == 0 {
		return 1
	}
	total := logChoose(all, bad)
	p := 0.0
	for k := newBad; k <= min(bad, newAll); k++ {
		term := math.Exp(logChoose(newAll, k) + logChoose(oldAll, bad-k) - total)
		p += term
		// Beyond the mode the terms only fall, faster and faster.
		if term < p*1e-12 && float64(k)*float64(all) > float64(bad)*float64(newAll) {
			break
		}
	}
	return min(1, p)
}

// logChoose is the logarithm of the number of ways to choose k of n.
func logChoose(n, k int64) float64 {
	if k < 0 || k > n {
		return math.Inf(-1)
	}
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// mannWhitney is how likely it would be by chance that the new version's times
// are so much longer, or longer still: the one-sided rank test of H. B. Mann and
// D. R. Whitney (1947), with the normal approximation, which is good from some
// twenty of each on, and corrected for ties (E. L. Lehmann, Nonparametrics, 1975,
// 1.2): times in one bucket are equal.
func mannWhitney(old, fresh Times) float64 {
	n, m := float64(old.count()), float64(fresh.count())
	if n == 0 || m == 0 {
		return 1
	}
	below, wins, ties := 0.0, 0.0, 0.0
	for i := range old {
		o, f := float64(old[i]), float64(fresh[i])
		wins += f * (below + o/2)
		below += o
		both := o + f
		ties += both*both*both - both
	}
	all := n + m
	variance := n * m / 12 * (all + 1 - ties/(all*(all-1)))
	if variance <= 0 {
		return 1
	}
	z := (wins - n*m/2) / math.Sqrt(variance)
	return math.Erfc(z/math.Sqrt2) / 2
}

// Times is a histogram of times: buckets that grow by the eighth root of two, by
// 9%, from 100 µs on. What is shorter is in the first, what is longer than
// a minute and a half in the last.
type Times [160]int64

const shortest = 100 * time.Microsecond

func bucketOf(d time.Duration) int {
	if d <= shortest {
		return 0
	}
	return min(len(Times{})-1, int(8*math.Log2(float64(d)/float64(shortest)))+1)
}

func (t *Times) count() int64 {
	var n int64
	for _, c := range t {
		n += c
	}
	return n
}

// median in seconds: the middle of the bucket in which it is.
func (t *Times) median() float64 {
	n, seen := t.count(), int64(0)
	for i, c := range t {
		seen += c
		if 2*seen >= n {
			return shortest.Seconds() * math.Exp2((float64(i)-0.5)/8)
		}
	}
	return 0
}

// guard compares the versions of the rollout that is on. One that is found to be
// worse does not become current, and who waits for it is refused.
func (l *look) guard() {
	rollout, p := l.pool.tracker.Rollout(), l.pool
	if !rollout.On || rollout.From == "" || l.Guard.Off {
		p.answers.end(l.pool.tracker.Current())
		p.comparing, p.looks, p.asked = "", looks{}, nil
		return
	}
	if pair := rollout.From + "\n" + rollout.To; p.comparing != pair {
		p.comparing, p.looks, p.asked = pair, looks{}, make(map[string]Traffic)
		p.answers.begin(rollout.From, rollout.To, l.now.Add(l.Guard.withDefaults().Warmup.D()))
		return
	}
	for _, e := range l.mine() {
		if e.Version == rollout.To && (e.Stage == Held || e.DespiteGuard) {
			return
		}
	}
	old, fresh := p.answers.tally(rollout.From, p.asked[rollout.From]), p.answers.tally(rollout.To, p.asked[rollout.To])
	if worse := p.looks.compare(l.Guard, old, fresh); len(worse) > 0 {
		l.hold(rollout.To, rollout.From, worse)
	}
}

// hold keeps a version from becoming current.
func (l *look) hold(version, previous string, worse []Difference) {
	var held *entry
	for _, e := range l.mine() {
		if !e.open() || e.Version != version {
			continue
		}
		e.Guard = worse
		if e.called() {
			l.finishLocked(e, l.now, Refused, refusal(version, previous, worse))
			continue
		}
		held = e
	}
	if held == nil {
		held = l.notice(version, previous, Held)
		held.Guard = worse
	}
	held.Error = refusal(version, previous, worse)
	l.moveLocked(held, Held, EventHeld)
}

// refusal says why a version is held back.
func refusal(version, previous string, worse []Difference) string {
	texts := make([]string, len(worse))
	for i, d := range worse {
		texts[i] = d.String()
	}
	return fmt.Sprintf("%s is worse than %s, nothing purged: %s", version, previous, strings.Join(texts, "; "))
}
