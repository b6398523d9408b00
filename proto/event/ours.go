package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// decodeOurs decodes a row for gateways only. isOurs is false for any other row.
func (e *Event) decodeOurs(r Record) (isOurs bool, err error) {
	switch r.Type {
	case "terasocket.Rights":
		e.Kind = Rights
		var body struct{ Gained, Lost []string }
		if err := unmarshal(r.Body, &body); err != nil {
			return true, err
		}
		e.Gained, e.Lost = body.Gained, body.Lost
		return true, checkPrincipal(r)
	case "terasocket.Kick":
		e.Kind = Kick
		var body struct{ Token int64 }
		if err := unmarshal(r.Body, &body); err != nil {
			return true, err
		}
		e.Token = body.Token
		return true, checkPrincipal(r)
	case "terasocket.Alias":
		e.Kind = Alias
		var body struct {
			Tag       string
			Keys, Was json.RawMessage
		}
		if err := unmarshal(r.Body, &body); err != nil {
			return true, err
		}
		if body.Tag == "" {
			return true, errors.New("body: no tag")
		}
		e.Tag, e.Keys, e.Was = body.Tag, keysText(body.Keys), keysText(body.Was)
		return true, nil
	case "terasocket.Settled":
		e.Kind = Settled
		return true, nil
	}
	return false, nil
}

// unmarshal omits the errors of encoding/json, which quote the input.
func unmarshal(body string, v any) error {
	if json.Unmarshal([]byte(body), v) != nil {
		return errors.New("body: not the JSON of its type")
	}
	return nil
}

// keysText returns routing keys as text, "" for null.
func keysText(keys json.RawMessage) string {
	if string(keys) == "null" {
		return ""
	}
	return string(keys)
}

func checkPrincipal(r Record) error {
	if !slices.Contains([]string{"user", "participant", "device"}, r.ObjectType) {
		return fmt.Errorf("unknown kind of principal %.80q", r.ObjectType)
	}
	return nil
}

// IsForGateways reports whether rows of this type are for gateways, and never sent to a client.
func IsForGateways(typeName string) bool { return strings.HasPrefix(typeName, "terasocket.") }
