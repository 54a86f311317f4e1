package control

import "net/http"

// hint is for the webhooks of platforms, which carry no token but in their URL,
// and are often not signed. Nothing that they say is read: the replicas are asked.
func (c *call) hint() error {
	if !c.trusted && c.hints.find(c.id) == 0 {
		if err := c.denied(); err != nil {
			return err
		}
		return problem(http.StatusNotFound, CodeUnknown, "bad hint token: want the one of control { hint_token … }")
	}
	c.gateway.Hint()
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
