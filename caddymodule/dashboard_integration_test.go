package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgegw/edge/internal/browsertest"
)

// hostile is what a replica may call itself, and a visitor may ask for.
const hostile = `<script>window.struck=1</script><img src=x onerror=window.struck=1>`

// rowOf is the row of a replica, as an expression.
func rowOf(address string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('#pools tbody tr')].find((tr) => tr.innerText.includes(%q))`, address)
}

func stateIs(address, state string) string {
	return fmt.Sprintf(`(%s)?.dataset.state === %q`, rowOf(address), state)
}

// refusedToken is what a browser says of an answer 401, which is meant here.
const refusedToken = "status of 401"

func TestDashboard(t *testing.T) {
	replicas := []replica{startReplica(t, "v1"), startReplica(t, "v1"), startReplica(t, "v1")}
	odd := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-App-Version", hostile) })
	block := staticPool(replicas[0].address, replicas[1].address, replicas[2].address) + "\n" + strings.Replace(staticPool(odd), "pool app", "pool odd", 1)
	e := startEdge(t, block, pagesSite)
	b := browsertest.Start(t)
	b.Open(e.URL + "/.edge/dashboard")

	b.EnterToken("not-the-token-4d1f")
	b.See("a wrong token is refused, in clear words", "document.getElementById('enter-wrong').innerText.includes('not the gateway')")
	if b.Eval("document.getElementById('main').hidden && sessionStorage.length === 0") != true {
		t.Error("a wrong token opens the page, or is kept")
	}
	b.NoComplaints(refusedToken)
	b.EnterToken(testToken)
	for _, r := range replicas {
		b.See("a replica is up", stateIs(r.address, "up"))
	}
	b.See("what a replica calls itself is a text", "document.getElementById('pools').innerText.includes("+browsertest.Quote(hostile)+")")

	dashboardShowsTraffic(t, e, b)
	if b.Eval("document.getElementById('trouble').getBoundingClientRect().top >= document.querySelector('.top').getBoundingClientRect().bottom") != true {
		t.Error("trouble is under the header")
	}
	dashboardKnowsColoursAndPhones(t, b)
	dashboardPurges(t, e, b)
	dashboardExplains(t, e, b)
	dashboardDrainsByKeyboard(t, b, replicas[0])

	if err := replicas[1].process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.See("the killed replica is sick", stateIs(replicas[1].address, "sick"))
	b.See("and that is trouble", "document.getElementById('trouble').innerText.includes('EdgeReplicaSick') && document.title.startsWith('(')")
	b.Shoot("trouble")
	b.NoComplaints()
	dashboardSurvivesARestart(t, e, b, block)

	if b.Eval("window.struck === undefined && document.querySelectorAll('main img, main script').length === 0") != true {
		t.Error("a text became markup")
	}
	if own := strings.TrimPrefix(e.URL, "http://"); !slices.Equal(b.Hosts(), []string{own}) {
		t.Errorf("hosts that were asked: %v, want %s only", b.Hosts(), own)
	}
}

// dashboardShowsTraffic: misses, work and numbers of what visitors do.
func dashboardShowsTraffic(t *testing.T, e *edge, b *browsertest.Tab) {
	t.Helper()
	strange := "/" + url.PathEscape(hostile)
	for range 3 {
		e.get("/contacts")
		e.get(strange)
	}
	b.See("a miss is listed", "[...document.querySelectorAll('#misses .url')].some((url) => url.textContent.endsWith('/contacts'))")
	b.See("an address is a text", "[...document.querySelectorAll('#misses .url')].some((url) => url.textContent.includes("+browsertest.Quote(hostile)+"))")
	b.See("so is work", "document.querySelectorAll('#cost tr').length > 1")
	b.See("there are three charts", "document.querySelectorAll('.chart canvas').length === 3")
	b.See("the last minute has requests", `/Hit ratio\s*[0-9.]+ %/.test(document.getElementById('numbers').innerText)`)
	b.See("what it needs is listed", "document.getElementById('dependencies').innerText.includes('purge journal')")
}

// brightness is the page's colour, as a sum of red, green and blue.
const brightness = `getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).reduce((sum, n) => sum + Number(n), 0)`

func dashboardKnowsColoursAndPhones(t *testing.T, b *browsertest.Tab) {
	t.Helper()
	b.Prefer("light")
	b.See("light, as the system asks", brightness+" > 600")
	b.Shoot("light")
	b.Prefer("dark")
	b.See("dark, as the system asks", brightness+" < 200")
	b.Shoot("dark")
	b.Eval(`(() => { const s = document.getElementById('theme'); s.value = 'light'; s.dispatchEvent(new Event('change')); })()`)
	b.See("light, as the reader asks", brightness+" > 600")

	b.Phone()
	b.Shoot("phone")
	b.Desk()
	b.Eval(`(() => { const s = document.getElementById('theme'); s.value = 'auto'; s.dispatchEvent(new Event('change')); })()`)
	b.Prefer("light")
}

func dashboardPurges(t *testing.T, e *edge, b *browsertest.Tab) {
	t.Helper()
	eventually(t, "the page is cached", func() bool { return strings.Contains(e.get("/contacts").cacheStatus(), "; hit") })
	b.Eval(`(() => { const s = document.getElementById('purge-kind'); s.value = 'tags'; s.dispatchEvent(new Event('change')); })()`)
	b.Fill("purge-values", "pages")
	b.Click("#purge-form button")
	b.See("the purge is done", "document.getElementById('purge-said').innerText.includes(': done')")
	if r := e.get("/contacts"); strings.Contains(r.cacheStatus(), "; hit") {
		t.Errorf("after the purge: %q, want a miss", r.cacheStatus())
	}
	b.See("the timeline has it", "document.querySelector('#timeline .purge')?.innerText.includes('tags pages')")
	b.Click("#timeline summary")
	b.See("with its steps", "['generation', 'node', 'fleet'].every((step) => document.querySelector('#timeline .steps').innerText.includes(step))")

	b.Fill("purge-values", "two words")
	b.Click("#purge-form button")
	b.See("a mistake is named", "document.getElementById('purge-said').innerText.includes('without spaces')")
	b.NoComplaints("status of 422")
}

func dashboardExplains(t *testing.T, e *edge, b *browsertest.Tab) {
	t.Helper()
	e.get("/contacts")
	b.Fill("explain-url", e.URL+"/contacts")
	b.Click("#explain-form button")
	b.See("why it is cached", `/a hit: it is served from the cache/.test(document.getElementById('explain-facts').innerText) && document.getElementById('explain-facts').innerText.includes('page /*')`)
	b.Fill("explain-header", "Cookie: session=1")
	b.Click("#explain-form button")
	b.See("and why it is not", "document.getElementById('explain-facts').innerText.includes('bypassed by this request')")
}

// dashboardDrainsByKeyboard uses no pointer from the top of the page on.
func dashboardDrainsByKeyboard(t *testing.T, b *browsertest.Tab, r replica) {
	t.Helper()
	b.Eval("document.activeElement.blur(), window.scrollTo(0, 0)")
	b.TabTo("the button", fmt.Sprintf(`it.getAttribute("aria-label") === "Drain %s"`, r.address))
	b.Press("Enter")
	b.See("it asks first, and the safe answer has the focus", "document.getElementById('ask').open && document.activeElement.value === 'no'")
	b.Press("Escape")
	b.See("the focus is back", fmt.Sprintf(`!document.getElementById('ask').open && document.activeElement.getAttribute("aria-label") === "Drain %s"`, r.address))
	if b.Eval(stateIs(r.address, "up")) != true {
		t.Error("it drains though nobody said yes")
	}
	b.Press("Enter")
	b.See("it asks again", "document.getElementById('ask').open")
	b.Eval("document.getElementById('ask').dispatchEvent(new Event('close')), 0") // the first question's, late
	b.TabTo("yes", "it.id === 'ask-yes'")
	b.Press("Enter")
	b.See("it is set aside", stateIs(r.address, "drained")+" || "+stateIs(r.address, "draining"))
	b.See("the focus stays while the page changes", fmt.Sprintf(`document.activeElement.getAttribute("aria-label") === "Take back %s"`, r.address))
	b.Press("Enter")
	b.See("it is taken back", stateIs(r.address, "up"))
}

// dashboardSurvivesARestart: it says that nobody answers, and goes on when
// somebody does.
func dashboardSurvivesARestart(t *testing.T, e *edge, b *browsertest.Tab, block string) {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	b.See("the page says so", "!document.getElementById('lost').hidden && document.getElementById('lost').innerText.includes('does not answer')")
	if err := e.load(block, pagesSite); err != nil {
		t.Fatal(err)
	}
	b.See("and goes on", "document.getElementById('lost').hidden && document.getElementById('live').innerText.includes('restarted at')")
	b.See("with what there is now", "document.querySelectorAll('#pools tbody tr').length === 4")
	b.NoComplaints("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING")
}

// At the admin endpoint Caddy turns away what a browser asks for on its own
// account. With the line that docs/dashboard.md has for it, the page opens there.
func TestDashboardAtTheAdminEndpoint(t *testing.T) {
	e := newEdge(t)
	plain := e.caddyfile(staticPool(startReplica(t, "v1").address), pagesSite)
	text := strings.Replace(plain, "admin "+e.Admin, fmt.Sprintf("admin %s {\norigins \"\" %s\n}", e.Admin, e.Admin), 1)
	if err := e.loadText(text); err != nil {
		t.Fatal(err)
	}
	b := browsertest.Start(t)
	b.Open("http://" + e.Admin + "/edge/dashboard")
	b.See("no token is asked for", "document.getElementById('enter').hidden && document.getElementById('pools').innerText.includes('up')")
	b.Eval(`(() => { const s = document.getElementById('purge-kind'); s.value = 'tags'; s.dispatchEvent(new Event('change')); })()`)
	b.Fill("purge-values", "pages")
	b.Click("#purge-form button")
	b.See("orders are taken", "document.getElementById('purge-said').innerText.includes(': done')")
	b.NoComplaints()
}
