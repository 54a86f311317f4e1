package lb

// Avoid keeps requests from the replicas of a version, as long as the pool has
// others in good standing; "" avoids none. Who was pinned to one of them is sent
// elsewhere.
func (p *Pool) Avoid(version string) {
	if version == "" {
		p.avoid.Store(nil)
		return
	}
	p.avoid.Store(&version)
}

// avoided reports whether a replica is of the version to avoid.
func (p *Pool) avoided(r *replica) bool {
	avoid := p.avoid.Load()
	return avoid != nil && r.identity.Load().version == *avoid
}
