package handover

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// passages are both ends.
func passages(t *testing.T) (near, far *Passage) {
	t.Helper()
	ours, theirs, err := pair(true)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(theirs.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close() // a copy
	near = newPassage(ours)
	if far, err = openPassage(fd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = near.Close() // the test may have
		_ = far.Close()
	})
	return near, far
}

// connected are both ends of a connection.
func connected(t *testing.T) (client net.Conn, served *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, conn.(*net.TCPConn)
}

func TestConnectionsGoFromOneEndToTheOther(t *testing.T) {
	near, far := passages(t)
	early := bytes.Repeat([]byte{0, 0xff}, 2048)
	const many = 300 // more than wait in the socket between the two
	clients := make([]net.Conn, many)
	sent := make(chan error, 1)
	served := make([]*net.TCPConn, many)
	for n := range many {
		clients[n], served[n] = connected(t)
	}
	go func() {
		for _, conn := range served {
			if err := near.Send(Passenger{conn, "127.0.0.1:80", early}); err != nil {
				sent <- err
				return
			}
			_ = conn.Close() // a copy
		}
		sent <- nil
	}()
	for _, client := range clients {
		who, err := far.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if who.Address != "127.0.0.1:80" || !bytes.Equal(who.Early, early) {
			t.Fatalf("%q with %d bytes: want 127.0.0.1:80, and %d", who.Address, len(who.Early), len(early))
		}
		if _, err := who.Conn.Write([]byte("here")); err != nil {
			t.Fatal(err)
		}
		if err := who.Conn.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(client); err != nil || string(got) != "here" {
			t.Fatalf("%q, %v: want here, and the end", got, err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	if who, err := far.Receive(); err == nil {
		t.Errorf("%+v after the end", who)
	}
}

// A connection that nobody receives any more is not sent.
func TestNothingIsSentToNobody(t *testing.T) {
	near, far := passages(t)
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	_, conn := connected(t)
	if err := near.Send(Passenger{Conn: conn}); err == nil {
		t.Error("no error")
	}
}

func TestWhatIsNoPassengerIsRefused(t *testing.T) {
	_, conn := connected(t)
	file, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := json.Marshal(label{Address: "a"})
	if err != nil {
		t.Fatal(err)
	}
	tcp := int(file.Fd())
	for name, c := range map[string]struct {
		text []byte
		fds  []int
	}{
		"no connection":   {text, nil},
		"two connections": {text, []int{tcp, tcp}},
		"no socket":       {text, []int{temporary(t)}},
		"no label":        {[]byte("{"), []int{tcp}},
	} {
		near, far := passages(t)
		var rights []byte
		if c.fds != nil {
			rights = syscall.UnixRights(c.fds...)
		}
		if _, _, err := near.conn.WriteMsgUnix(c.text, rights, nil); err != nil {
			t.Fatal(err)
		}
		if who, err := far.Receive(); err == nil {
			t.Errorf("%s: %+v", name, who)
		}
	}
}

// temporary is an open file.
func temporary(t *testing.T) (fd int) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() }) // only read from
	return int(file.Fd())
}
