package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// controller speaks to the gateway's control API, as an autoscaler would.
type controller struct {
	server string // where edge_control is mounted, without a slash at the end
	token  string
	client *http.Client
}

func newController(server, token string) *controller {
	return &controller{server: server, token: token, client: &http.Client{Transport: newTransport(), Timeout: patience}}
}

// gatewayStatus is what the demo reads of GET status.
type gatewayStatus struct {
	Pools []struct {
		Name     string          `json:"name"`
		Replicas []replicaStatus `json:"replicas"`
	} `json:"pools"`
	Purges struct {
		Last []purgeStatus `json:"last"`
	} `json:"purges"`
}

type replicaStatus struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	Version  string `json:"version"`
	State    string `json:"state"`
	Why      string `json:"why"`
	InFlight int    `json:"in_flight"`
}

// purgeStatus is an order's record, as far as the demo shows it.
type purgeStatus struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Exit  int    `json:"exit"`
	Steps []struct {
		Name   string `json:"name"`
		Detail string `json:"detail"`
	} `json:"steps"`
	Error string `json:"error"`
}

// find is the pool's replica with this id; false when it is not listed.
func (s gatewayStatus) find(id string) (replicaStatus, bool) {
	for _, pool := range s.Pools {
		for _, r := range pool.Replicas {
			if pool.Name == poolName && r.ID == id {
				return r, true
			}
		}
	}
	return replicaStatus{}, false
}

func (c *controller) status(ctx context.Context) (gatewayStatus, error) {
	var s gatewayStatus
	err := c.call(ctx, http.MethodGet, "status", nil, &s)
	return s, err
}

// alive reports whether the gateway answers at all.
func (c *controller) alive(ctx context.Context) bool {
	return c.call(ctx, http.MethodGet, "healthz", nil, nil) == nil
}

// register tells the gateway of a replica, until the lease ends; again before
// that, to keep it. It returns the replica's id.
func (c *controller) register(ctx context.Context, address string, lease time.Duration) (string, error) {
	request := map[string]string{"pool": poolName, "address": address, "lease": unit.Duration(lease).String()}
	var registered struct {
		ID string `json:"id"`
	}
	if err := c.call(ctx, http.MethodPost, "replicas", request, &registered); err != nil {
		return "", fmt.Errorf("register %s: %w", address, err)
	}
	if registered.ID == "" {
		return "", fmt.Errorf("register %s: the answer has no id", address)
	}
	return registered.ID, nil
}

// drain tells the gateway to give a replica nothing new.
func (c *controller) drain(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, "replicas/"+id+"/drain", nil, nil)
}

// forget takes a drained replica off the gateway's list.
func (c *controller) forget(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "replicas/"+id, nil, nil)
}

// errAnswer is an answer of the control API other than success.
type errAnswer struct {
	call   string
	status int
	body   string
}

func (e *errAnswer) Error() string {
	return fmt.Sprintf("%s: %d %s", e.call, e.status, e.body)
}

// call sends request as JSON and reads the answer into result; either may be
// nil.
func (c *controller) call(ctx context.Context, method, path string, request, result any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if request == nil {
		body = nil
	}
	r, err := http.NewRequestWithContext(ctx, method, c.server+"/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	if request != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return &errAnswer{method + " " + path, response.StatusCode, strings.TrimSpace(string(answer[:min(len(answer), 400)]))}
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(answer, result); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
