package rawhit

import (
	"crypto/tls"
	"time"
)

// Record is what an access log says about a reply.
type Record struct {
	// Block is the request's header, and Head the answer's, as they were on the
	// wire.
	Block, Head []byte
	// Remote is the client's address.
	Remote string
	// Size of the body, in bytes.
	Size int
	// Done is when the reply had been written, Duration how long that took.
	Done     time.Time
	Duration time.Duration
	// Err is why it was not written as a whole.
	Err error
	// TLS is the connection's, nil without.
	TLS *tls.ConnectionState
}

const (
	// maxRecords is how many records may wait to be written. While there are half as
	// many, requests take the long way.
	maxRecords = 1 << 10
	// linger is how long a record waits for others at most, and crowd how many of them
	// there are before it does not: what writes them is out of the processor's caches
	// after some thousand replies, and then takes two times as long for the first.
	linger = 20 * time.Millisecond
	crowd  = 64
)

// record waits to be written.
type record struct {
	Record

	log func(Record)
}

// journal writes records on a goroutine of its own, in their order: a record
// takes longer than the reply that it is about.
type journal struct {
	waiting chan record
	crowded chan struct{} // somebody need not wait any longer; closed at the end
	done    chan struct{}
}

// Start begins to write records. [Table.Stop] ends it.
func (t *Table) Start() {
	t.journal = &journal{waiting: make(chan record, maxRecords), crowded: make(chan struct{}, 1), done: make(chan struct{})}
	go t.journal.run()
}

func (j *journal) run() {
	defer close(j.done)
	pause := time.NewTimer(linger)
	defer pause.Stop()
	for first := range j.waiting {
		pause.Reset(linger)
		select {
		case <-pause.C:
		case <-j.crowded:
		}
		first.log(first.Record)
		for range len(j.waiting) {
			next := <-j.waiting
			next.log(next.Record)
		}
	}
}

// add has a record written, for which hasRoom has found room.
func (j *journal) add(r record) {
	j.waiting <- r
	if len(j.waiting) >= crowd {
		select {
		case j.crowded <- struct{}{}:
		default:
		}
	}
}

// hasRoom reports that a record would not have to wait.
func (j *journal) hasRoom() bool { return j != nil && len(j.waiting) < maxRecords/2 }

// Stop returns when all records have been written. Nothing may be answered any
// more: see [Table.Drain] and [Table.Wait].
func (t *Table) Stop() {
	if t.journal != nil {
		close(t.journal.waiting)
		close(t.journal.crowded)
		<-t.journal.done
	}
}
