package ws

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"terasocket/proto/event"
)

// params are the query parameters of a handshake.
type params struct {
	token    string          // looks like a token
	encoding *event.Encoding // Protobuf or JSON; nil = not asked for
	since    *uint64         // nil = not asked for
	snapshot bool
	replace  bool // close the principal's other sockets
}

// refusal is the response to a handshake that is not upgraded.
type refusal struct {
	status int
	reason string // label of the metric
	text   string
}

func badToken() *refusal {
	return &refusal{http.StatusForbidden, "token", "websocket authentication failed"}
}

// parseParams reads the raw query. The first value of a repeated parameter counts; unknown parameters are ignored. A malformed
// token is refused like an unknown one.
func parseParams(query string) (params, *refusal) {
	var p params
	token, _, err := parameter(query, "id")
	if err != nil || !looksLikeToken(token) {
		return params{}, badToken()
	}
	p.token = token

	if text, given, err := parameter(query, "encoding"); given {
		e, badName := ParseEncoding(text)
		if err != nil || badName != nil {
			return params{}, &refusal{http.StatusBadRequest, "encoding", "encoding is protobuf or json"}
		}
		p.encoding = &e
	}
	if text, given, err := parameter(query, "since"); given {
		seq, parseErr := strconv.ParseUint(text, 10, 64)
		if err != nil || parseErr != nil {
			return params{}, &refusal{http.StatusBadRequest, "since", "since is the last seq received, a decimal number, or 0"}
		}
		p.since = &seq
	}
	if text, given, err := parameter(query, "snapshot"); given {
		if err != nil || text != "1" && text != "0" {
			return params{}, &refusal{http.StatusBadRequest, "snapshot", "snapshot is 1 or 0"}
		}
		p.snapshot = text == "1"
	}
	if text, given, err := parameter(query, "replace"); given {
		if err != nil || text != "true" && text != "false" {
			return params{}, &refusal{http.StatusBadRequest, "replace", "replace is true or false"}
		}
		p.replace = text == "true"
	}
	return p, nil
}

// parameter returns the first value of a parameter. net/url drops what it cannot parse; a dropped since would lose events.
func parameter(query, name string) (value string, given bool, err error) {
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(key); err != nil || key != name {
			continue
		}
		value, err := url.QueryUnescape(value)
		return value, true, err
	}
	return "", false, nil
}

func looksLikeToken(s string) bool {
	if len(s) < 1 || len(s) > 128 {
		return false
	}
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// ParseEncoding parses "protobuf" or "json".
func ParseEncoding(name string) (event.Encoding, error) {
	switch name {
	case "protobuf":
		return event.Protobuf, nil
	case "json":
		return event.JSON, nil
	}
	return 0, fmt.Errorf("unknown encoding %.40q: it is protobuf or json", name)
}

// negotiate chooses the encoding and the offered subprotocol to confirm ("" = none): the query wins over the subprotocols, and
// these over the default. A JSON client that passed a cursor gets JSONWithSeq.
func negotiate(p params, offered []string, byDefault event.Encoding) (encoding event.Encoding, subprotocol string) {
	const prefix = "opentera."
	encoding = byDefault
	switch {
	case p.encoding != nil:
		encoding = *p.encoding
		name := prefix + encodingName(encoding)
		if slices.Contains(offered, name) {
			subprotocol = name
		}
	default:
		for _, name := range offered {
			short, ours := strings.CutPrefix(name, prefix)
			if e, err := ParseEncoding(short); ours && err == nil {
				encoding, subprotocol = e, name
				break
			}
		}
	}
	if encoding == event.JSON && p.since != nil {
		encoding = event.JSONWithSeq
	}
	return encoding, subprotocol
}
