package autoscale

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
)

// The example of the specification of Standard Webhooks, whose signature its
// authors have published.
func TestTheSignatureIsThatOfTheSpecification(t *testing.T) {
	key, err := signingKey(secretText)
	if err != nil {
		t.Fatal(err)
	}
	const (
		id, stamp = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"
		body      = `{"test": 2432232314}`
		want      = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	)
	if got := sign(key, id, stamp, []byte(body)); got != want {
		t.Errorf("%s: want %s", got, want)
	}
}

// receiver is as strict as a receiver should be: it checks the signature by
// itself, the age, and that the id of an order stands for one body.
type receiver struct {
	t      *testing.T
	bodies map[string]string
	orders []message
	status int // of the next answers; 0 for 204
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "want POST of JSON", http.StatusBadRequest)
		return
	}
	id, stamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if age := time.Since(time.Unix(at, 0)); err != nil || age > 5*time.Minute || age < -5*time.Minute {
		http.Error(w, "too old", http.StatusUnauthorized)
		return
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secretText, "whsec_"))
	if err != nil {
		v.t.Error(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "." + string(body)))
	if r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		http.Error(w, "bad signature", http.StatusUnauthorized)
		return
	}
	if id == "" || r.Header.Get("Idempotency-Key") != id {
		http.Error(w, "no id", http.StatusBadRequest)
		return
	}
	if before, known := v.bodies[id]; known && before != string(body) {
		http.Error(w, "the id belongs to another order", http.StatusConflict)
		return
	}
	v.bodies[id] = string(body)
	var m message
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil || m.Type != "autoscale.replicas" || m.Data.Replicas < 1 {
		http.Error(w, "another kind of message", http.StatusUnprocessableEntity)
		return
	}
	v.orders = append(v.orders, m)
	if v.status != 0 {
		w.WriteHeader(v.status)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func TestAWebhookIsSignedAndTheSameWhenItIsRepeated(t *testing.T) {
	v := &receiver{t: t, bodies: make(map[string]string)}
	server := httptest.NewServer(v)
	defer server.Close()
	d, err := newWebhook(named.Spec{Name: "webhook", Args: []string{server.URL}, Options: map[string][]string{"secret": {secretText}}})
	if err != nil {
		t.Fatal(err)
	}
	o := Order{
		ID: "edge_42", Pool: "app", Replicas: 2, Before: 3, Why: Fewer, At: time.Now(),
		Remove: []Victim{{ID: "1ee64de00e98", Address: "10.0.0.7:3000", Instance: "i7"}},
	}
	v.status = http.StatusBadGateway
	if err := d.Scale(t.Context(), o); err == nil || err.Error() != "webhook: status 502 Bad Gateway" {
		t.Errorf("502: %v", err)
	}
	v.status = 0
	if err := d.Scale(t.Context(), o); err != nil {
		t.Errorf("again: %v", err)
	}
	if len(v.orders) != 2 || !reflect.DeepEqual(v.orders[0], v.orders[1]) {
		t.Fatalf("%+v: want the same order twice", v.orders)
	}
	got := v.orders[1].Data
	if got.Pool != "app" || got.Replicas != 2 || got.Before != 3 || got.Why != Fewer || !reflect.DeepEqual(got.Remove, o.Remove) {
		t.Errorf("%+v: want %+v", got, o)
	}
	if d.Lowers() != LowersNamed || d.Pause() != 10*time.Second {
		t.Errorf("lowers %d, pause %s", d.Lowers(), d.Pause())
	}
}

func TestWebhookWords(t *testing.T) {
	for name, c := range map[string]struct {
		spec named.Spec
		want []string
	}{
		"nothing": {named.Spec{}, []string{"got 0 arguments: want a URL", "webhook secret: has 0 characters: want at least 24"}},
		"all wrong": {named.Spec{Args: []string{"ftp://user:pw@x"}, Options: map[string][]string{"secret": {"whsec_short"}, "timeout": {"soon"}, "pause": {"1s", "2s"}}}, []string{
			"the address is not right: want a URL", "want whsec_ and at least 24 bytes in base64", `webhook timeout: "soon": want a duration`, "webhook pause: got 2 words: want one",
		}},
	} {
		c.spec.Name = "webhook"
		_, err := newWebhook(c.spec)
		if err == nil {
			t.Errorf("%s: was accepted", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nlacks %q", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "pw@") {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
}
