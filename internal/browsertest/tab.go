package browsertest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Tab is a tab of the browser. Its methods are for the test's own goroutine.
type Tab struct {
	t       TB
	browser *chromium
	session string

	// The browser's mutex guards what follows.
	faults []string        // what the console would show in red, and exceptions
	hosts  map[string]bool // that were asked for something
}

// Another opens a second tab of the same browser.
func (b *Tab) Another() *Tab {
	b.t.Helper()
	return b.browser.tab()
}

// note keeps what a page must not do. The caller holds the browser's mutex.
func (b *Tab) note(method string, params json.RawMessage) {
	var p struct {
		Request struct{ URL string }
		Entry   struct{ Source, Level, Text, URL string }
		Type    string
		Args    []struct{ Value, Description any }

		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	_ = json.Unmarshal(params, &p) // what is missing stays empty
	switch method {
	case "Network.requestWillBeSent":
		if u, err := url.Parse(p.Request.URL); err == nil && u.Scheme != "data" {
			b.hosts[u.Host] = true
		}
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Level == "warning" {
			b.faults = append(b.faults, fmt.Sprintf("%s: %s %s", p.Entry.Source, p.Entry.Text, p.Entry.URL))
		}
	case "Runtime.consoleAPICalled":
		if p.Type == "error" || p.Type == "warning" || p.Type == "assert" {
			b.faults = append(b.faults, fmt.Sprintf("console: %s %v", p.Type, p.Args))
		}
	case "Runtime.exceptionThrown":
		b.faults = append(b.faults, "exception: "+p.ExceptionDetails.Text+" "+p.ExceptionDetails.Exception.Description)
	}
}

// Complaints are the faults so far, but for those with the given words; they are
// forgotten then.
func (b *Tab) Complaints(but ...string) []string {
	b.browser.mu.Lock()
	defer b.browser.mu.Unlock()
	faults := slices.DeleteFunc(b.faults, func(fault string) bool {
		return slices.ContainsFunc(but, func(words string) bool { return strings.Contains(fault, words) })
	})
	b.faults = nil
	return faults
}

// NoComplaints is an error of the test for each of them.
func (b *Tab) NoComplaints(but ...string) {
	b.t.Helper()
	if faults := b.Complaints(but...); len(faults) > 0 {
		b.t.Errorf("the browser complains: %q", faults)
	}
}

// Hosts are those that were asked for something, sorted.
func (b *Tab) Hosts() []string {
	b.browser.mu.Lock()
	defer b.browser.mu.Unlock()
	return slices.Sorted(maps.Keys(b.hosts))
}

// call sends one command to the tab and waits for its answer.
func (b *Tab) call(method string, params, into any) {
	b.t.Helper()
	b.browser.call(b.session, method, params, into)
}

// Open goes to an address.
func (b *Tab) Open(address string) {
	b.t.Helper()
	var gone struct{ ErrorText string }
	b.call("Page.navigate", map[string]any{"url": address}, &gone)
	if gone.ErrorText != "" {
		b.t.Fatalf("%s: %s", address, gone.ErrorText)
	}
	b.See("the page is loaded", "document.readyState === 'complete' && location.href === "+Quote(address))
}

// Eval is the value of an expression; an exception is a fault of the test.
func (b *Tab) Eval(expression string) any {
	b.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails.Exception.Description)
	}
	return got.Result.Value
}

// See waits until an expression is true.
func (b *Tab) See(what, expression string) {
	b.t.Helper()
	deadline, tick := time.After(seeing), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for b.Eval("Boolean("+expression+")") != true {
		select {
		case <-deadline:
			b.Shoot("failed")
			b.t.Fatalf("not seen: %s; there is:\n%v\nfaults: %q", what, b.Eval("document.body.innerText"), b.Complaints())
		case <-tick.C:
		}
	}
}

// Text is what a reader sees: the text that is shown, with single spaces.
func (b *Tab) Text() string {
	b.t.Helper()
	shown, _ := b.Eval("document.body.innerText").(string)
	return strings.Join(strings.Fields(shown), " ")
}

// Quote writes a text as JavaScript.
func Quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // texts can be written
	}
	return string(quoted)
}

// Fill puts a text into a field, as if it had been typed.
func (b *Tab) Fill(id, text string) {
	b.t.Helper()
	b.Eval("document.getElementById(" + Quote(id) + ").select()")
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// Click clicks on what a selector finds.
func (b *Tab) Click(selector string) {
	b.t.Helper()
	b.Eval("document.querySelector(" + Quote(selector) + ").click()")
}

// keys are the codes of those that tests press.
var keys = map[string]struct {
	code int
	text string
}{"Tab": {9, ""}, "Enter": {13, "\r"}, "Escape": {27, ""}}

// Press presses keys, one after another.
func (b *Tab) Press(names ...string) {
	b.t.Helper()
	for _, name := range names {
		key := map[string]any{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": keys[name].code, "text": keys[name].text}
		b.call("Input.dispatchKeyEvent", key, nil)
		key["type"] = "keyUp"
		delete(key, "text")
		b.call("Input.dispatchKeyEvent", key, nil)
	}
}

// TabTo presses Tab until the focus is where an expression of it says.
func (b *Tab) TabTo(what, focused string) {
	b.t.Helper()
	for range 120 {
		if b.Eval("((it) => Boolean("+focused+"))(document.activeElement)") == true {
			return
		}
		b.Press("Tab")
	}
	b.t.Fatalf("Tab does not lead to %s", what)
}

// size sets the size of the window.
func (b *Tab) size(width, height int, phone bool) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}, nil)
}

// Phone is the size of a small one. Nothing of a page may be wider.
func (b *Tab) Phone() {
	b.t.Helper()
	b.size(390, 844, true)
	b.See("nothing is wider than a phone", "document.documentElement.scrollWidth <= 390 && [...document.querySelectorAll('main *')].every((it) => it.getBoundingClientRect().right <= 391)")
}

// Desk is the size that a tab has at first.
func (b *Tab) Desk() {
	b.t.Helper()
	b.size(1280, 900, false)
}

// Prefer sets the colours that the system asks for: light or dark.
func (b *Tab) Prefer(scheme string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Shoot keeps a picture of the whole page, for people, if they name a folder.
func (b *Tab) Shoot(name string) {
	b.t.Helper()
	folder := os.Getenv("EDGE_TEST_SCREENSHOTS")
	if folder == "" {
		return
	}
	b.Eval("window.scrollTo({top: 0, behavior: 'instant'})")
	var picture struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &picture)
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), data, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// EnterToken gives the dashboard a token.
func (b *Tab) EnterToken(token string) {
	b.t.Helper()
	b.See("the page asks for a token", "!document.getElementById('enter').hidden && document.activeElement.id === 'token'")
	b.Fill("token", token)
	b.Press("Enter")
}
