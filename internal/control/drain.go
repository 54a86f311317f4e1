package control

import "net/http"

// maxDrainOrder bounds the body of POST pools/{id}/drain.
const maxDrainOrder = 4 << 10

// DrainOrder is the body of POST pools/{id}/drain and undrain.
type DrainOrder struct {
	// Replica is the id or the address of one.
	Replica string `json:"replica,omitempty"`
	// Version means all replicas that run it now.
	Version string `json:"version,omitempty"`
	// Force drains also when no healthy replica is left then.
	Force bool `json:"force,omitempty"`
}

// Drainee is a replica that was drained, or taken back.
type Drainee struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Version string `json:"version,omitempty"`
	// State is where it stands now: draining, drained; once taken back joining,
	// up, sick.
	State string `json:"state"`
}

// drainAnswer lists whom an order concerned.
type drainAnswer struct {
	Pool     string    `json:"pool"`
	Replicas []Drainee `json:"replicas"`
}

func (c *call) drainReplica() error {
	force, err := c.flag("force")
	if err != nil {
		return err
	}
	list, err := c.gateway.Drain("", DrainOrder{Replica: c.id, Force: force})
	if err != nil {
		return err
	}
	c.report(Event{Kind: Drained, ID: c.id})
	return c.answer(http.StatusOK, map[string]string{"id": c.id, "state": list[0].State})
}

func (c *call) drainPool() error   { return c.order(c.gateway.Drain, Drained) }
func (c *call) undrainPool() error { return c.order(c.gateway.Undrain, Undrained) }

// order carries out what the body asks of the pool.
func (c *call) order(carry func(string, DrainOrder) ([]Drainee, error), kind Kind) error {
	var o DrainOrder
	if err := c.readBody(maxDrainOrder, &o); err != nil {
		return err
	}
	if (o.Replica == "") == (o.Version == "") {
		return invalid(http.StatusUnprocessableEntity, Mistake{"replica, version", shorten(o.Replica + o.Version), "one of them: the id or address of a replica, or a version"})
	}
	list, err := carry(c.id, o)
	if err != nil {
		return err
	}
	for _, r := range list {
		c.report(Event{Kind: kind, ID: r.ID, Detail: c.id + " " + r.Address})
	}
	if list == nil {
		list = []Drainee{}
	}
	return c.answer(http.StatusOK, drainAnswer{Pool: c.id, Replicas: list})
}

// flag is a query parameter that is true or false.
func (c *call) flag(name string) (bool, error) {
	switch given := c.query.Get(name); given {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalid(http.StatusBadRequest, Mistake{name, shorten(given), "true or false"})
	}
}
