package ws

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"terasocket/access"
)

func TestASocketThatReplaces(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil, nil)
	first, second := g.connect(t, "user?id=user_7_a"), g.connect(t, "user?id=user_7_b&replace=false")
	somebody := g.connect(t, "user?id=user_8_a")
	if response, _ := g.answer(t, "user?id=user_7_c&replace=maybe"); response.StatusCode != http.StatusBadRequest {
		t.Errorf("replace=maybe: %s", response.Status)
	}
	third := g.connect(t, "user?id=user_7_c&replace=true")
	first.wantClose(CloseKicked)
	second.wantClose(CloseKicked)
	g.deliver("who is left", user(7), user(8))
	third.want("who is left")
	somebody.want("who is left")
}

// replacer is a Replacer as a function.
type replacer func(access.Identity) error

func (r replacer) Replace(_ context.Context, id access.Identity) error { return r(id) }

// If the other gateways cannot be told, the client gets an error and its old sockets stay.
func TestASocketThatCannotReplace(t *testing.T) {
	t.Parallel()
	var err error
	var asked []access.Principal
	g := newGateway(t, func(h *Handler) {
		h.Replacer = replacer(func(id access.Identity) error { asked = append(asked, id.Principal); return err })
	}, nil)
	first := g.connect(t, "user?id=user_7_a")
	err = errors.New("no database")
	response, _ := g.answer(t, "user?id=user_7_b&replace=true")
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("%s, %v", response.Status, response.Header)
	}
	g.deliver("still there", user(7))
	first.want("still there")
	if n := g.Len(); n != 1 {
		t.Errorf("%d sockets", n)
	}
	err = nil
	second := g.connect(t, "user?id=user_7_c&replace=true")
	first.wantClose(CloseKicked)
	g.deliver("who is left", user(7))
	second.want("who is left")
	if len(asked) != 2 || asked[1] != user(7) {
		t.Errorf("asked for %v", asked)
	}
}

// Of two sockets that replace at the same time, the later one stays: a client whose network vanished returns while its first
// handshake still waits for the other gateways.
func TestTwoSocketsThatReplace(t *testing.T) {
	t.Parallel()
	entered, goOn := make(chan struct{}), make(chan struct{})
	asked := 0
	g := newGateway(t, func(h *Handler) {
		h.Replacer = replacer(func(access.Identity) error {
			if asked++; asked == 1 {
				close(entered)
				<-goOn
			}
			return nil
		})
	}, nil)
	first := make(chan *client)
	go func() { first <- g.connect(t, "user?id=user_7_a&replace=true") }()
	<-entered
	second := g.connect(t, "user?id=user_7_b&replace=true")
	close(goOn)
	(<-first).wantClose(CloseKicked)
	g.deliver("who is left", user(7))
	second.want("who is left")
}
