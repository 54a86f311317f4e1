package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/gateway"
)

var (
	versionInPage = regexp.MustCompile(`<meta name="app-version" content="([^"]*)">`)
	assetInPage   = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`)
)

// visitor asks for one thing after the other, over kept connections.
type visitor struct {
	base   string
	client *http.Client
	random *rand.Rand
	tally  *tally
	asset  string // that the last page named
}

func newVisitor(base string, seed uint64, t *tally) *visitor {
	return &visitor{
		base: base, tally: t, random: rand.New(rand.NewPCG(seed, 1)),
		client: &http.Client{Transport: newTransport(), Timeout: 15 * time.Second},
	}
}

// newTransport goes to the gateway whatever proxy the environment names.
func newTransport() *http.Transport { return &http.Transport{MaxIdleConnsPerHost: 4} }

// visit goes on until leave is done, and ends what it has begun.
func (v *visitor) visit(leave context.Context) {
	defer v.client.CloseIdleConnections()
	for leave.Err() == nil {
		v.ask(kinds[v.random.IntN(len(kinds)-2)]) // streams have visitors of their own
		gateway.Pause(leave, time.Duration(v.random.IntN(40))*time.Millisecond)
	}
}

// ask makes one request and holds its answer to what it should be.
func (v *visitor) ask(k *kind) {
	r, err := v.request(k)
	if err != nil {
		panic("churn: " + err.Error()) // made of constants
	}
	connections := 0
	r = r.WithContext(httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connections++ },
	}))
	l := loss{kind: k, began: time.Now()}
	body, err := v.exchange(r, &l)
	if err == nil {
		l.begun = false // what is wrong now is not for being cut
		err = v.check(k, body)
	}
	if err == nil && connections > 1 {
		err = fmt.Errorf("it took %d connections: the gateway closed one under the request", connections)
	}
	l.ended = time.Now()
	if err == nil {
		v.tally.answered(k, l.ended.Sub(l.began))
		return
	}
	l.what = err.Error()
	v.tally.lost(l)
}

// exchange sends the request and reads the answer whole, noting in l how far it
// came.
func (v *visitor) exchange(r *http.Request, l *loss) ([]byte, error) {
	resp, err := v.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	l.status, l.where = resp.StatusCode, replicaOf(resp)
	l.begun = resp.StatusCode/100 == 2
	body, err := io.ReadAll(resp.Body)
	if err == nil && !l.begun {
		err = fmt.Errorf("status %d: %.100s", resp.StatusCode, body)
	}
	return body, err
}

// replicaOf is the replica that an answer came from, or was to come from.
func replicaOf(resp *http.Response) string {
	if id := resp.Header.Get(replicaField); id != "" {
		return id
	}
	return resp.Header.Get("X-App-Instance")
}

func (v *visitor) check(k *kind, body []byte) error {
	switch k {
	case cached:
		match := assetInPage.FindSubmatch(body)
		if match == nil || !versionInPage.Match(body) || !strings.HasSuffix(strings.TrimSpace(string(body)), "</html>") {
			return fmt.Errorf("a page of %d bytes that is not one", len(body))
		}
		v.asset = string(match[1])
	case asset:
		if len(body) == 0 {
			return errors.New("an empty asset")
		}
	default:
		if !json.Valid(body) {
			return fmt.Errorf("%d bytes that are no JSON", len(body))
		}
	}
	return nil
}

func (v *visitor) request(k *kind) (*http.Request, error) {
	switch k {
	case cached:
		pages := []string{"/", "/contacts", fmt.Sprint("/contacts/", 1+v.random.IntN(24))}
		return http.NewRequest(http.MethodGet, v.base+pages[v.random.IntN(len(pages))], nil)
	case asset:
		if v.asset == "" {
			return http.NewRequest(http.MethodGet, v.base+"/images/logo.svg", nil)
		}
		return http.NewRequest(http.MethodGet, v.base+v.asset, nil)
	}
	query := url.Values{}
	if k == slowly || k == postLate || k == keyedLate {
		query.Set("think", (time.Duration(v.random.IntN(400)) * time.Millisecond).String())
	}
	target := v.base + "/api/contacts?" + query.Encode()
	if k == uncached || k == slowly {
		return http.NewRequest(http.MethodGet, target+"&q=ada", nil)
	}
	text := fmt.Sprintf(`{"name":"Visitor %d","company":%q,"email":"v@example.com"}`, v.random.IntN(1000), strings.Repeat("c", v.random.IntN(100)))
	var body io.Reader = strings.NewReader(text)
	if k == postPieces || k == keyedParts {
		body = &pieces{text: text, pause: time.Duration(v.random.IntN(150)) * time.Millisecond}
	}
	r, err := http.NewRequest(http.MethodPost, target, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if k.safe {
		r.Header.Set("Idempotency-Key", fmt.Sprintf("%q", fmt.Sprint(v.random.Uint64())))
	}
	return r, nil
}

// pieces is a body that a slow client sends, in three parts.
type pieces struct {
	text  string
	at    int
	pause time.Duration
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.at == len(p.text) {
		return 0, io.EOF
	}
	if p.at > 0 {
		gateway.Pause(context.Background(), p.pause)
	}
	n := copy(b, p.text[p.at:min(len(p.text), p.at+1+len(p.text)/3)])
	p.at += n
	return n, nil
}
