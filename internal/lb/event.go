package lb

// Kind is what an Event says.
type Kind string

// The kinds of events. Each is a change of state that a person may act on.
const (
	ReplicaJoined       Kind = "replica_joined"       // found; takes nothing before its first passed check
	ReplicaUp           Kind = "replica_up"           // its checks pass
	ReplicaSick         Kind = "replica_sick"         // its checks fail
	ReplicaEjected      Kind = "replica_ejected"      // worse than its peers: set aside for a while
	ReplicaReadmitted   Kind = "replica_readmitted"   // its ejection is over: it comes back slowly
	ReplicaChanged      Kind = "replica_changed"      // another process answers at the address
	ReplicaDraining     Kind = "replica_draining"     // removed: takes no new requests
	ReplicaGone         Kind = "replica_gone"         // drained, and its connections closed
	BreakerOpened       Kind = "breaker_opened"       // set aside by what requests saw of it
	BreakerHalfOpened   Kind = "breaker_half_opened"  // one request probes it
	BreakerClosed       Kind = "breaker_closed"       // the probe went well
	PanicBegan          Kind = "panic_began"          // most replicas look sick: health is ignored
	PanicEnded          Kind = "panic_ended"          // most replicas are healthy again
	DiscoveryFailed     Kind = "discovery_failed"     // the last good set is kept
	DiscoveryRecovered  Kind = "discovery_recovered"  // answers again
	RegistrationExpired Kind = "registration_expired" // its lease ended without a renewal
	ProcessStarted      Kind = "process_started"      // a replica that edge runs itself
	ProcessLate         Kind = "process_late"         // it was not up in time, and is stopped
	ProcessExited       Kind = "process_exited"       // it ended by itself; Err says how
	ProcessStopped      Kind = "process_stopped"      // it was asked to finish, and has
	ScaleAsked          Kind = "scale_asked"          // the driver accepted another number of replicas
	ScaleFailed         Kind = "scale_failed"         // it did not; it is asked again
	ReplicaOutput       Kind = "replica_output"       // Why is a line that it wrote
)

// Event is one change of state of a pool. Fields that do not apply are empty.
type Event struct {
	Kind    Kind
	Pool    string
	Replica string // id
	Address string
	Version string
	Why     string // for people
	Err     error
	Stream  string // of ReplicaOutput: stdout, stderr
}
