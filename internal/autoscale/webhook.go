package autoscale

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/reason"
)

func init() {
	Drivers.Register("webhook", newWebhook, named.Spec{
		Args:    []string{"https://ops.example.com/scale"},
		Options: map[string][]string{"secret": {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
	})
}

// webhook posts the order as signed JSON: Standard Webhooks 1.0, so that
// receivers find a library that checks it.
type webhook struct {
	url     string
	key     []byte
	timeout time.Duration
	pause   time.Duration
	client  *http.Client
	now     func() time.Time
}

// newWebhook reads `webhook URL { secret KEY; timeout 10s; pause 10s }`.
func newWebhook(s named.Spec) (Driver, error) {
	errs := s.Want(1, 1, "a URL", "secret", "timeout", "pause")
	w := &webhook{client: client(), now: time.Now}
	if len(s.Args) == 1 {
		w.url = s.Args[0]
		if u, err := url.Parse(w.url); err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
			errs = append(errs, errors.New("webhook: the address is not right: want a URL such as https://ops.example.com/scale"))
		}
	}
	var err error
	if w.key, err = signingKey(option(s, "secret", "", &errs)); err != nil {
		errs = append(errs, err)
	}
	w.timeout = pauseOption(s, "timeout", 10*time.Second, &errs)
	w.pause = pauseOption(s, "pause", 10*time.Second, &errs)
	return w, errors.Join(errs...)
}

// client follows no redirect: what was signed for one place is not for another.
func client() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// signingKey reads whsec_ and base64, as Standard Webhooks have it, or takes
// other text as it is.
func signingKey(secret string) ([]byte, error) {
	if encoded, found := strings.CutPrefix(secret, "whsec_"); found {
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) < 24 {
			return nil, errors.New("webhook secret: want whsec_ and at least 24 bytes in base64")
		}
		return key, nil
	}
	if len(secret) < 24 {
		return nil, fmt.Errorf("webhook secret: has %d characters: want at least 24", len(secret))
	}
	return []byte(secret), nil
}

// message is the body.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		Pool     string   `json:"pool"`
		Replicas int      `json:"replicas"`
		Before   int      `json:"before,omitempty"`
		Why      Why      `json:"why"`
		Remove   []Victim `json:"remove"`
	} `json:"data"`
}

func (w *webhook) Scale(ctx context.Context, o Order) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	m := message{Type: "autoscale.replicas", Timestamp: o.At.UTC()}
	m.Data.Pool, m.Data.Replicas, m.Data.Before, m.Data.Why = o.Pool, o.Replicas, o.Before, o.Why
	m.Data.Remove = append([]Victim{}, o.Remove...)
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("webhook: the address is not right")
	}
	stamp := strconv.FormatInt(w.now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "edge-autoscale")
	r.Header.Set("Idempotency-Key", o.ID)
	r.Header.Set("Webhook-Id", o.ID)
	r.Header.Set("Webhook-Timestamp", stamp)
	r.Header.Set("Webhook-Signature", "v1,"+sign(w.key, o.ID, stamp, body))
	_, err = send(w.client, r, "webhook")
	return err
}

// sign is the signature of Standard Webhooks: HMAC-SHA256 of id, timestamp and
// body, with dots between.
func sign(key []byte, id, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, stamp) // A hash takes everything.
	_, _ = mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// send makes a request and reads its answer; anything but 2xx is an error. The
// URL, which may hold a secret, is in no error.
func send(c *http.Client, r *http.Request, who string) ([]byte, error) {
	resp, err := c.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", who, reason.Of(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: the answer: %w", who, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return body, nil
	}
	err = fmt.Errorf("%s: status %s", who, resp.Status)
	if seconds, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && seconds > 0 {
		return nil, &Later{After: min(time.Duration(seconds)*time.Second, time.Hour), Err: err}
	}
	return nil, err
}

func (*webhook) Lowers() Lowering { return LowersNamed }

func (w *webhook) Pause() time.Duration { return w.pause }
