package bridge

import (
	"strings"
	"testing"

	"terasocket/access"
)

// A message of 1 MiB that holds half a million empty events is one refusal, not as many.
func TestMillionsOfEvents(t *testing.T) {
	payload := strings.Repeat("\x12\x00", payloadBytes/2)
	if r := decode(heard{topic: "websocket.user.x.events", payload: payload}); len(r.items)+len(r.seen) != 0 || len(r.refused) != 1 || r.refused[0].reason != tooBig {
		t.Errorf("%d items, %d seen, %d refused", len(r.items), len(r.seen), len(r.refused))
	}
	payload = strings.Repeat("\x12\x00", access.MaxEvents)
	if r := decode(heard{topic: "websocket.user.x.events", payload: payload}); len(r.refused) != access.MaxEvents {
		t.Errorf("%d refused", len(r.refused))
	}
}
