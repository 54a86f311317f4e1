package main

import (
	"net/http"
	"time"
)

// kind is what a visitor asks for. A request is safe to save if it may be
// sent again: because its method is safe (RFC 9110, 9.2.1), or because the
// application does it once by its Idempotency-Key.
type kind struct {
	name   string
	safe   bool
	stream bool // it has no end of its own
}

var (
	cached     = &kind{name: "GET, cached", safe: true}
	asset      = &kind{name: "GET, fingerprinted asset", safe: true}
	uncached   = &kind{name: "GET, not cached", safe: true}
	slowly     = &kind{name: "GET, answered after up to 400 ms", safe: true}
	post       = &kind{name: "POST"}
	postLate   = &kind{name: "POST, answered after up to 400 ms"}
	postPieces = &kind{name: "POST, body sent in pieces"}
	keyed      = &kind{name: "POST with Idempotency-Key", safe: true}
	keyedLate  = &kind{name: "POST with Idempotency-Key, answered after up to 400 ms", safe: true}
	keyedParts = &kind{name: "POST with Idempotency-Key, body sent in pieces", safe: true}
	sse        = &kind{name: "SSE", safe: true, stream: true}
	socket     = &kind{name: "WebSocket", safe: true, stream: true}

	kinds = []*kind{cached, asset, uncached, slowly, post, postLate, postPieces, keyed, keyedLate, keyedParts, sse, socket}
)

// ending is how a replica ended.
type ending string

const (
	running ending = ""
	killed  ending = "kill -9"
	sudden  ending = "SIGTERM without notice"
	planned ending = "a planned end"
)

// life is a replica, as far as it matters to those who were asking it.
type life struct {
	instance string // as it calls itself
	id       string // as the gateway calls it: an address, so others may have had it too
	how      ending
	at, over time.Time // when its end was asked for, and when it had ended
}

// slack is how far apart two clock readings of one moment may be, on a machine
// that is busy.
const slack = time.Second

// touched reports whether what went on from began to ended was under way while
// the replica ended.
func (l life) touched(began, ended time.Time) bool {
	return l.how != running && !began.After(l.over.Add(slack)) && !ended.Before(l.at.Add(-slack))
}

// loss is a request without a whole and right answer, or a stream's end that
// was not in order.
type loss struct {
	kind    *kind
	where   string // the replica, as it or the gateway calls it; "" for unknown
	began   time.Time
	ended   time.Time
	status  int  // of the answer, 0 for none
	begun   bool // the header of a good answer had come
	what    string
	verdict verdict
}

// verdict says whose fault a loss is. The zero value is the gateway's.
type verdict string

const (
	fault        verdict = ""
	lostToKill   verdict = "sent, not answered, and not to be sent twice: kill -9"
	lostToSudden verdict = "sent, not answered, and not to be sent twice: SIGTERM without notice"
	answerCut    verdict = "cut after the header of its answer: kill -9"
	streamCut    verdict = "stream cut: kill -9"
)

// judge says why a loss could not be avoided, if that is so. Anything that had
// been sent to a replica that was killed meanwhile is lost, unless it may be
// sent again; what the gateway refused had not been sent. That a kept connection
// ended under a request is the gateway's fault, whatever befell it meanwhile.
func (l loss) judge(lives []life) verdict {
	for _, r := range lives {
		if l.where == "" || (r.instance != l.where && r.id != l.where) || !r.touched(l.began, l.ended) {
			continue
		}
		switch {
		case l.begun && r.how == killed && l.kind.stream:
			return streamCut
		case l.begun && r.how == killed:
			return answerCut
		case l.begun || l.kind.safe || l.status != http.StatusBadGateway:
		case r.how == killed:
			return lostToKill
		case r.how == sudden:
			return lostToSudden
		}
	}
	return fault
}
