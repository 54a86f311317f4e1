package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
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

// enterToken gives the page a token.
func (b *browser) enterToken(token string) {
	b.t.Helper()
	b.see("the page asks for a token", "!document.getElementById('enter').hidden && document.activeElement.id === 'token'")
	b.fill("token", token)
	b.press("Enter")
}

func (b *browser) noComplaints(but ...string) {
	b.t.Helper()
	if faults := b.complaints(but...); len(faults) > 0 {
		b.t.Errorf("the browser complains: %q", faults)
	}
}

// refusedToken is what a browser says of an answer 401, which is meant here.
const refusedToken = "status of 401"

func TestDashboard(t *testing.T) {
	replicas := []replica{startReplica(t, "v1"), startReplica(t, "v1"), startReplica(t, "v1")}
	odd := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-App-Version", hostile) })
	block := staticPool(replicas[0].address, replicas[1].address, replicas[2].address) + "\n" + strings.Replace(staticPool(odd), "pool app", "pool odd", 1)
	e := startEdge(t, block, pagesSite)
	b := startBrowser(t)
	b.open(e.URL + "/.edge/dashboard")

	b.enterToken("not-the-token-4d1f")
	b.see("a wrong token is refused, in clear words", "document.getElementById('enter-wrong').innerText.includes('not the gateway')")
	if b.eval("document.getElementById('main').hidden && sessionStorage.length === 0") != true {
		t.Error("a wrong token opens the page, or is kept")
	}
	b.noComplaints(refusedToken)
	b.enterToken(testToken)
	for _, r := range replicas {
		b.see("a replica is up", stateIs(r.address, "up"))
	}
	b.see("what a replica calls itself is a text", "document.getElementById('pools').innerText.includes("+quote(hostile)+")")

	dashboardShowsTraffic(e, b)
	dashboardKnowsColoursAndPhones(b)
	dashboardPurges(e, b)
	dashboardExplains(e, b)
	dashboardDrainsByKeyboard(b, replicas[0])

	if err := replicas[1].process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.see("the killed replica is sick", stateIs(replicas[1].address, "sick"))
	b.see("and that is trouble", "document.getElementById('trouble').innerText.includes('EdgeReplicaSick') && document.title.startsWith('(')")
	b.shoot("trouble")
	b.noComplaints()
	dashboardSurvivesARestart(e, b, block)

	if b.eval("window.struck === undefined && document.querySelectorAll('main img, main script').length === 0") != true {
		t.Error("a text became markup")
	}
	if own := strings.TrimPrefix(e.URL, "http://"); len(b.hosts) != 1 || !b.hosts[own] {
		t.Errorf("hosts that were asked: %v, want %s only", b.hosts, own)
	}
}

// dashboardShowsTraffic: misses, work and numbers of what visitors do.
func dashboardShowsTraffic(e *edge, b *browser) {
	b.t.Helper()
	strange := "/" + url.PathEscape(hostile)
	for range 3 {
		e.get("/contacts")
		e.get(strange)
	}
	b.see("a miss is listed", "[...document.querySelectorAll('#misses .url')].some((url) => url.textContent.endsWith('/contacts'))")
	b.see("an address is a text", "[...document.querySelectorAll('#misses .url')].some((url) => url.textContent.includes("+quote(hostile)+"))")
	b.see("so is work", "document.querySelectorAll('#cost tr').length > 1")
	b.see("there are three charts", "document.querySelectorAll('.chart canvas').length === 3")
	b.see("the last minute has requests", `/Hit ratio\s*[0-9.]+ %/.test(document.getElementById('numbers').innerText)`)
	b.see("what it needs is listed", "document.getElementById('dependencies').innerText.includes('purge journal')")
}

// brightness is the page's colour, as a sum of red, green and blue.
const brightness = `getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).reduce((sum, n) => sum + Number(n), 0)`

func dashboardKnowsColoursAndPhones(b *browser) {
	b.t.Helper()
	b.prefer("light")
	b.see("light, as the system asks", brightness+" > 600")
	b.shoot("light")
	b.prefer("dark")
	b.see("dark, as the system asks", brightness+" < 200")
	b.shoot("dark")
	b.eval(`(() => { const s = document.getElementById('theme'); s.value = 'light'; s.dispatchEvent(new Event('change')); })()`)
	b.see("light, as the reader asks", brightness+" > 600")

	b.size(390, 844, true)
	b.see("nothing is wider than a phone", "document.documentElement.scrollWidth <= 390 && [...document.querySelectorAll('main *')].every((it) => it.getBoundingClientRect().right <= 391)")
	b.shoot("phone")
	b.size(1280, 900, false)
	b.eval(`(() => { const s = document.getElementById('theme'); s.value = 'auto'; s.dispatchEvent(new Event('change')); })()`)
	b.prefer("light")
}

func dashboardPurges(e *edge, b *browser) {
	b.t.Helper()
	eventually(b.t, "the page is cached", func() bool { return strings.Contains(e.get("/contacts").cacheStatus(), "; hit") })
	b.eval(`(() => { const s = document.getElementById('purge-kind'); s.value = 'tags'; s.dispatchEvent(new Event('change')); })()`)
	b.fill("purge-values", "pages")
	b.click("#purge-form button")
	b.see("the purge is done", "document.getElementById('purge-said').innerText.includes(': done')")
	if r := e.get("/contacts"); strings.Contains(r.cacheStatus(), "; hit") {
		b.t.Errorf("after the purge: %q, want a miss", r.cacheStatus())
	}
	b.see("the timeline has it", "document.querySelector('#timeline .purge')?.innerText.includes('tags pages')")
	b.click("#timeline summary")
	b.see("with its steps", "['generation', 'node', 'fleet'].every((step) => document.querySelector('#timeline .steps').innerText.includes(step))")

	b.fill("purge-values", "two words")
	b.click("#purge-form button")
	b.see("a mistake is named", "document.getElementById('purge-said').innerText.includes('without spaces')")
	b.noComplaints("status of 422")
}

func dashboardExplains(e *edge, b *browser) {
	b.t.Helper()
	e.get("/contacts")
	b.fill("explain-url", e.URL+"/contacts")
	b.click("#explain-form button")
	b.see("why it is cached", `/a hit: it is served from the cache/.test(document.getElementById('explain-facts').innerText) && document.getElementById('explain-facts').innerText.includes('page /*')`)
	b.fill("explain-header", "Cookie: session=1")
	b.click("#explain-form button")
	b.see("and why it is not", "document.getElementById('explain-facts').innerText.includes('bypassed by this request')")
}

// dashboardDrainsByKeyboard uses no pointer from the top of the page on.
func dashboardDrainsByKeyboard(b *browser, r replica) {
	b.t.Helper()
	b.eval("document.activeElement.blur(), window.scrollTo(0, 0)")
	b.tabTo("the button", fmt.Sprintf(`it.getAttribute("aria-label") === "Drain %s"`, r.address))
	b.press("Enter")
	b.see("it asks first, and the safe answer has the focus", "document.getElementById('ask').open && document.activeElement.value === 'no'")
	b.press("Escape")
	b.see("the focus is back", fmt.Sprintf(`!document.getElementById('ask').open && document.activeElement.getAttribute("aria-label") === "Drain %s"`, r.address))
	if b.eval(stateIs(r.address, "up")) != true {
		b.t.Error("it drains though nobody said yes")
	}
	b.press("Enter")
	b.see("it asks again", "document.getElementById('ask').open")
	b.eval("document.getElementById('ask').dispatchEvent(new Event('close')), 0") // the first question's, late
	b.tabTo("yes", "it.id === 'ask-yes'")
	b.press("Enter")
	b.see("it is set aside", stateIs(r.address, "drained")+" || "+stateIs(r.address, "draining"))
	b.see("the focus stays while the page changes", fmt.Sprintf(`document.activeElement.getAttribute("aria-label") === "Take back %s"`, r.address))
	b.press("Enter")
	b.see("it is taken back", stateIs(r.address, "up"))
}

// dashboardSurvivesARestart: it says that nobody answers, and goes on when
// somebody does.
func dashboardSurvivesARestart(e *edge, b *browser, block string) {
	b.t.Helper()
	if err := caddy.Stop(); err != nil {
		b.t.Fatal(err)
	}
	b.see("the page says so", "!document.getElementById('lost').hidden && document.getElementById('lost').innerText.includes('does not answer')")
	if err := e.load(block, pagesSite); err != nil {
		b.t.Fatal(err)
	}
	b.see("and goes on", "document.getElementById('lost').hidden && document.getElementById('live').innerText.includes('restarted at')")
	b.see("with what there is now", "document.querySelectorAll('#pools tbody tr').length === 4")
	b.noComplaints("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING")
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
	b := startBrowser(t)
	b.open("http://" + e.Admin + "/edge/dashboard")
	b.see("no token is asked for", "document.getElementById('enter').hidden && document.getElementById('pools').innerText.includes('up')")
	b.eval(`(() => { const s = document.getElementById('purge-kind'); s.value = 'tags'; s.dispatchEvent(new Event('change')); })()`)
	b.fill("purge-values", "pages")
	b.click("#purge-form button")
	b.see("orders are taken", "document.getElementById('purge-said').innerText.includes(': done')")
	b.noComplaints()
}
