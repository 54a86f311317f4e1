package caddymodule

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// seeing is how long a test waits for something to show in a browser, on a
// machine that does much else.
const seeing = 90 * time.Second

// browser is a tab of a real Chromium, driven over the DevTools protocol.
type browser struct {
	t       *testing.T
	conn    *websocket.Conn
	session string

	mu      sync.Mutex
	last    int
	waiting map[int]chan reply
	faults  []string        // what the console would show in red, and exceptions
	hosts   map[string]bool // that were asked for something
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// startBrowser opens an empty tab. The test fails if there is no Chromium: make
// tools installs it.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	command := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--remote-debugging-port=0", "--user-data-dir="+t.TempDir(), "--no-first-run", "--no-proxy-server",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "about:blank")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("want Chromium, as make tools installs it: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // its helpers too; it may have ended
		_ = command.Wait()
	})
	b := &browser{t: t, waiting: make(map[int]chan reply), hosts: make(map[string]bool)}
	ctx, cancel := context.WithTimeout(t.Context(), seeing)
	defer cancel()
	if b.conn, _, err = websocket.Dial(ctx, devtools(t, out), nil); err != nil {
		t.Fatal(err)
	}
	b.conn.SetReadLimit(64 << 20)
	t.Cleanup(func() { _ = b.conn.CloseNow() })
	go b.read()
	var tab struct{ TargetID, SessionID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &tab)
	b.call("Target.attachToTarget", map[string]any{"targetId": tab.TargetID, "flatten": true}, &tab)
	b.session = tab.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	b.size(1280, 900, false)
	return b
}

// devtools is where the browser says that it listens.
func devtools(t *testing.T, out io.Reader) string {
	t.Helper()
	lines := bufio.NewScanner(out)
	var said []string
	for lines.Scan() {
		if _, at, found := strings.Cut(lines.Text(), "DevTools listening on "); found {
			go func() { _, _ = io.Copy(io.Discard, out) }() // so that it never waits for a reader
			return strings.TrimSpace(at)
		}
		said = append(said, lines.Text())
	}
	t.Fatalf("Chromium ended: %s", strings.Join(said, "\n"))
	return ""
}

// read takes answers and events until the connection ends.
func (b *browser) read() {
	for {
		_, text, err := b.conn.Read(context.Background())
		if err != nil {
			return
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			reply
		}
		if json.Unmarshal(text, &m) != nil {
			continue
		}
		b.mu.Lock()
		if answer := b.waiting[m.ID]; answer != nil {
			delete(b.waiting, m.ID)
			answer <- m.reply
		}
		b.note(m.Method, m.Params)
		b.mu.Unlock()
	}
}

// note keeps what a page must not do.
func (b *browser) note(method string, params json.RawMessage) {
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

// complaints are the faults so far, but for those with the given words; they are
// forgotten then.
func (b *browser) complaints(but ...string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	faults := slices.DeleteFunc(b.faults, func(fault string) bool {
		return slices.ContainsFunc(but, func(words string) bool { return strings.Contains(fault, words) })
	})
	b.faults = nil
	return faults
}

// call sends one command and waits for its answer.
func (b *browser) call(method string, params, into any) {
	b.t.Helper()
	answer := make(chan reply, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.waiting[id] = answer
	b.mu.Unlock()
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), seeing)
	defer cancel()
	if err := b.conn.Write(ctx, websocket.MessageText, text); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case got := <-answer:
		if got.Error != nil {
			b.t.Fatalf("%s: %s", method, got.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(got.Result, into); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-ctx.Done():
		b.t.Fatalf("%s: no answer", method)
	}
}

// open goes to an address.
func (b *browser) open(address string) {
	b.t.Helper()
	var gone struct{ ErrorText string }
	b.call("Page.navigate", map[string]any{"url": address}, &gone)
	if gone.ErrorText != "" {
		b.t.Fatalf("%s: %s", address, gone.ErrorText)
	}
	b.see("the page is loaded", "document.readyState === 'complete' && location.href === "+quote(address))
}

// eval is the value of an expression; an exception is a fault of the test.
func (b *browser) eval(expression string) any {
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

// see waits until an expression is true.
func (b *browser) see(what, expression string) {
	b.t.Helper()
	deadline, tick := time.After(seeing), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for b.eval("Boolean("+expression+")") != true {
		select {
		case <-deadline:
			b.shoot("failed")
			b.t.Fatalf("not seen: %s; there is:\n%v\nfaults: %q", what, b.eval("document.body.innerText"), b.complaints())
		case <-tick.C:
		}
	}
}

// quote writes a text as JavaScript.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // texts can be written
	}
	return string(quoted)
}

// fill puts a text into a field, as if it had been typed.
func (b *browser) fill(id, text string) {
	b.t.Helper()
	b.eval("document.getElementById(" + quote(id) + ").select()")
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// click clicks on what a selector finds.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.eval("document.querySelector(" + quote(selector) + ").click()")
}

// keys are the codes of those that tests press.
var keys = map[string]struct {
	code int
	text string
}{"Tab": {9, ""}, "Enter": {13, "\r"}, "Escape": {27, ""}}

// press presses keys, one after another.
func (b *browser) press(names ...string) {
	b.t.Helper()
	for _, name := range names {
		key := map[string]any{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": keys[name].code, "text": keys[name].text}
		b.call("Input.dispatchKeyEvent", key, nil)
		key["type"] = "keyUp"
		delete(key, "text")
		b.call("Input.dispatchKeyEvent", key, nil)
	}
}

// tabTo presses Tab until the focus is where an expression of it says.
func (b *browser) tabTo(what, focused string) {
	b.t.Helper()
	for range 120 {
		if b.eval("((it) => Boolean("+focused+"))(document.activeElement)") == true {
			return
		}
		b.press("Tab")
	}
	b.t.Fatalf("Tab does not lead to %s", what)
}

// size sets the size of the window.
func (b *browser) size(width, height int, phone bool) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}, nil)
}

// prefer sets the colours that the system asks for: light or dark.
func (b *browser) prefer(scheme string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// shoot keeps a picture of the whole page, for people, if they name a folder.
func (b *browser) shoot(name string) {
	b.t.Helper()
	folder := os.Getenv("EDGE_TEST_SCREENSHOTS")
	if folder == "" {
		return
	}
	b.eval("window.scrollTo({top: 0, behavior: 'instant'})")
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
