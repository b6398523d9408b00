package load

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestFrames(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte("a"), n)
		frame := []byte{0x82}
		switch {
		case n < 126:
			frame = append(frame, byte(n))
		case n < 1<<16:
			frame = append(frame, 126, byte(n>>8), byte(n))
		default:
			frame = append(frame, 127, 0, 0, 0, 0, 0, byte(n>>16), byte(n>>8), byte(n))
		}
		frame = append(frame, payload...)
		for cut := range min(len(frame), 12) { // all of them incomplete
			if _, _, _, ok, err := nextFrame(frame[:cut]); ok || err != nil {
				t.Errorf("%d of %d bytes: whole, %v", cut, len(frame), err)
			}
		}
		opcode, got, rest, ok, err := nextFrame(append(frame, "rest"...))
		if opcode != 2 || !bytes.Equal(got, payload) || string(rest) != "rest" || !ok || err != nil {
			t.Errorf("%d bytes: opcode %d, %d bytes, rest %q, %v, %v", n, opcode, len(got), rest, ok, err)
		}
	}
	if _, _, _, _, err := nextFrame([]byte{0x81, 0x80, 0, 0, 0, 0}); err == nil {
		t.Error("a masked frame was accepted")
	}
}

func TestEventOf(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]int{
		`{"name":"bench event 0000000042 xx"}`: 42, Mark + Number(1234567890): 1234567890,
		"": -1, Mark: -1, Mark + "123": -1, Mark + "00000000a1": -1, "other": -1,
	} {
		got, ok := eventOf([]byte(payload))
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %v", payload, got, ok)
		}
	}
}

// Clients of the bare server receive each event once.
func TestClientsAndReference(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	commands, tell := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- Reference(listener, commands, 510) }()
	clients, err := NewClients()
	if err != nil {
		t.Skip("no epoll here")
	}
	const n, events = 50, 20
	targets := make([]string, n)
	for i := range targets {
		targets[i] = "/"
	}
	if err := clients.Connect(t.Context(), listener.Addr().String(), targets); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- clients.Run(ctx) }()
	for end := time.Now().Add(time.Minute); len(targets) > 0; { // until the server has accepted everybody
		if _, err := io.WriteString(tell, "0\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		if got := len(clients.Arrivals()); got == n {
			break
		}
		if time.Now().After(end) {
			t.Fatal("not everybody was accepted")
		}
	}
	for i := range events {
		if _, err := io.WriteString(tell, Number(i+1)+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	heard := map[int]int{}
	for end := time.Now().Add(time.Minute); len(heard) < events || heard[events] < n; time.Sleep(time.Millisecond) {
		for _, a := range clients.Arrivals() {
			heard[a.Event]++
		}
		if time.Now().After(end) {
			t.Fatalf("received %v", heard)
		}
	}
	for i := range events {
		if heard[i+1] != n {
			t.Errorf("event %d was received %d times", i+1, heard[i+1])
		}
	}
	_ = tell.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if open, closed, frames := clients.Count(); closed == n && open == 0 {
			if frames < n*events {
				t.Errorf("%d frames", frames)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("the server's end was not noticed")
		}
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	clients.Close()
}

func TestConnectIsRefused(t *testing.T) {
	t.Parallel()
	clients, err := NewClients()
	if err != nil {
		t.Skip("no epoll here")
	}
	defer clients.Close()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
	}()
	if err := clients.Connect(t.Context(), listener.Addr().String(), []string{"/"}); err == nil || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("refused: %v", err)
	}
	_ = listener.Close()
	for address, want := range map[string]string{listener.Addr().String(): "refused", "localhost:1": "none of IPv4", "[::1]:1": "none of IPv4"} {
		if err := clients.Connect(t.Context(), address, []string{"/"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	u, err := UsageOf(os.Getpid(), true)
	if err != nil || u.Resident < 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := UsageOf(1<<30, false); err == nil {
		t.Error("usage of a process that does not exist")
	}
}
