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

// maxRecords is how many records may wait to be written. While there are as
// many, requests take the long way.
const maxRecords = 1 << 10

// record waits to be written.
type record struct {
	Record

	log func(Record)
}

// journal writes records on a goroutine of its own, in their order: a record
// takes longer than the reply that it is about.
type journal struct {
	waiting chan record
	done    chan struct{}
}

// Start begins to write records. [Table.Stop] ends it.
func (t *Table) Start() {
	t.journal = &journal{waiting: make(chan record, maxRecords), done: make(chan struct{})}
	go t.journal.run()
}

func (j *journal) run() {
	defer close(j.done)
	for r := range j.waiting {
		r.log(r.Record)
	}
}

// hasRoom reports that a record would not have to wait.
func (j *journal) hasRoom() bool { return j != nil && len(j.waiting) < maxRecords/2 }

// Stop returns when all records have been written. Nothing may be answered any
// more: see [Table.Drain] and [Table.Wait].
func (t *Table) Stop() {
	if t.journal != nil {
		close(t.journal.waiting)
		<-t.journal.done
	}
}
