// Package browsertest drives a real Chromium over the DevTools protocol, for tests
// that look at pages as people see them. Nothing else may import it.
package browsertest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

// seeing is how long a test waits for something to show, on a machine that does
// much else.
const seeing = 90 * time.Second

// TB is the part of a test that a browser needs.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	TempDir() string
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// chromium is a running browser.
type chromium struct {
	t    TB
	conn *websocket.Conn

	mu      sync.Mutex
	last    int
	waiting map[int]chan reply
	tabs    map[string]*Tab // by their sessions
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Start runs a browser until the test ends, and opens an empty tab. The test fails
// if there is no Chromium: make tools installs it.
func Start(t TB) *Tab {
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
	c := &chromium{t: t, waiting: make(map[int]chan reply), tabs: make(map[string]*Tab)}
	ctx, cancel := context.WithTimeout(t.Context(), seeing)
	defer cancel()
	if c.conn, _, err = websocket.Dial(ctx, devtools(t, out), nil); err != nil {
		t.Fatal(err)
	}
	c.conn.SetReadLimit(64 << 20)
	t.Cleanup(func() { _ = c.conn.CloseNow() })
	go c.read()
	return c.tab()
}

// tab opens an empty one, in a window of its own: a page that nobody looks at may
// rest.
func (c *chromium) tab() *Tab {
	c.t.Helper()
	var made struct{ TargetID, SessionID string }
	c.call("", "Target.createTarget", map[string]any{"url": "about:blank", "newWindow": true}, &made)
	c.call("", "Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &made)
	tab := &Tab{t: c.t, browser: c, session: made.SessionID, hosts: make(map[string]bool)}
	c.mu.Lock()
	c.tabs[tab.session] = tab
	c.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		tab.call(domain+".enable", nil, nil)
	}
	tab.Desk()
	return tab
}

// devtools is where the browser says that it listens.
func devtools(t TB, out io.Reader) string {
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
func (c *chromium) read() {
	for {
		_, text, err := c.conn.Read(context.Background())
		if err != nil {
			return
		}
		var m struct {
			ID      int
			Method  string
			Params  json.RawMessage
			Session string `json:"sessionId"`
			reply
		}
		if json.Unmarshal(text, &m) != nil {
			continue
		}
		c.mu.Lock()
		if answer := c.waiting[m.ID]; answer != nil {
			delete(c.waiting, m.ID)
			answer <- m.reply
		}
		if tab := c.tabs[m.Session]; tab != nil {
			tab.note(m.Method, m.Params)
		}
		c.mu.Unlock()
	}
}

// call sends one command, to the browser itself or to a tab, and waits for its
// answer.
func (c *chromium) call(session, method string, params, into any) {
	c.t.Helper()
	answer := make(chan reply, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = answer
	c.mu.Unlock()
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if session != "" {
		message["sessionId"] = session
	}
	text, err := json.Marshal(message)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), seeing)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, text); err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	select {
	case got := <-answer:
		if got.Error != nil {
			c.t.Fatalf("%s: %s", method, got.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(got.Result, into); err != nil {
				c.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-ctx.Done():
		c.t.Fatalf("%s: no answer", method)
	}
}
