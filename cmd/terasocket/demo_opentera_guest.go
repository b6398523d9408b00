package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// guest is a client of OpenTera: it logs in there, opens the websocket URL it gets, and reads JSON frames as OpenTera's own web
// page does.
type guest struct {
	name, who string
	uuid      string

	path          string // of its login
	authorization string
	token         string // for its logout

	mu     sync.Mutex
	heard  []hearing
	ends   chan struct{} // end of a scene; closed with the socket
	closed error         // how the socket was closed; read it after ends is closed
	socket *websocket.Conn
}

// logIn logs in and returns the websocket URL.
func (g *guest) logIn(ctx context.Context, server string) (string, error) {
	body, err := call(ctx, server+g.path, g.authorization)
	if err != nil {
		return "", fmt.Errorf("log in as %s: %w", g.name, err)
	}
	var answer struct {
		URL   string `json:"websocket_url"`
		Token string `json:"user_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.URL == "" {
		return "", fmt.Errorf("log in as %s: no websocket_url", g.name)
	}
	g.token = answer.Token
	return answer.URL, nil
}

// call makes a GET request that must be answered with 200.
func call(ctx context.Context, url, authorization string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", authorization)
	request.Header.Set("User-Agent", authorization[len(authorization)-8:]) // a different program for each: a ticket depends on address and program
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, withoutURL("GET", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(answered(response, body))
	}
	return body, err
}

// enter opens the socket and listens.
func (g *guest) enter(ctx context.Context, url string) error {
	socket, response, err := (&websocket.Dialer{HandshakeTimeout: 10 * time.Second}).DialContext(ctx, url, nil)
	if err != nil {
		if response != nil {
			return errors.New(response.Status)
		}
		return withoutURL("connect", err)
	}
	g.socket, g.ends, g.closed = socket, make(chan struct{}, 100), nil
	go g.listen()
	return nil
}

// leave closes the socket, if there is one, and waits for its reader.
func (g *guest) leave() {
	if g.socket == nil {
		return
	}
	_ = g.socket.Close()
	for range g.ends { // until closed
	}
}

func (g *guest) listen() {
	defer close(g.ends)
	for {
		_, text, err := g.socket.ReadMessage()
		if err != nil {
			g.closed = err
			return
		}
		now := time.Now()
		what := label(text)
		if strings.HasPrefix(what, "ArchiveEvent") {
			g.ends <- struct{}{}
			continue
		}
		g.mu.Lock()
		g.heard = append(g.heard, hearing{what, now})
		g.mu.Unlock()
	}
}

func (g *guest) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.heard)
}

// take returns what was received since the last call.
func (g *guest) take() []hearing {
	g.mu.Lock()
	defer g.mu.Unlock()
	heard := g.heard
	g.heard = nil
	return heard
}

// label describes a frame in a few words: its type, and whom it is about.
func label(text []byte) string {
	var frame struct {
		Message struct {
			Events []map[string]any `json:"events"`
		} `json:"message"`
	}
	if err := json.Unmarshal(text, &frame); err != nil || len(frame.Message.Events) != 1 {
		return "?"
	}
	e := frame.Message.Events[0]
	field := func(names ...string) string {
		for _, name := range names {
			if value, _ := e[name].(string); value != "" {
				return value
			}
		}
		return ""
	}
	name := field("@type")[strings.LastIndex(field("@type"), ".")+1:]
	switch name {
	case "UserEvent", "ParticipantEvent", "DeviceEvent":
		return field("type") + " " + field("userFullname", "participantName", "deviceName")
	case "JoinSessionReplyEvent":
		return name + " " + field("joinReply")
	case "DatabaseEvent":
		return field("type") + " " + field("objectType")
	}
	return name
}
