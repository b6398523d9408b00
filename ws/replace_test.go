package ws

import (
	"net/http"
	"testing"
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
