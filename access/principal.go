package access

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind is the kind of a principal: one of OpenTera's three kinds of clients.
type Kind uint8

// The zero Kind is invalid.
const (
	User Kind = iota + 1
	Participant
	Device
)

// Kinds lists the three kinds.
var Kinds = [...]Kind{User, Participant, Device}

// String returns OpenTera's word: "user", "participant" or "device".
func (k Kind) String() string {
	switch k {
	case User:
		return "user"
	case Participant:
		return "participant"
	case Device:
		return "device"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind parses "user", "participant" or "device".
func ParseKind(s string) (Kind, error) {
	for _, k := range Kinds {
		if s == k.String() {
			return k, nil
		}
	}
	return 0, fmt.Errorf("unknown kind %q: it is user, participant or device", s)
}

// Principal identifies one user, participant or device by id_user, id_participant or id_device.
type Principal struct {
	Kind Kind
	ID   int32
}

// String returns kind and id: "user:12".
func (p Principal) String() string { return fmt.Sprintf("%s:%d", p.Kind, p.ID) }

// Tag returns the principal's own tag, "u:12", which nobody else holds. Every principal that may be connected holds its own.
func (p Principal) Tag() string {
	switch p.Kind {
	case User:
		return fmt.Sprintf("u:%d", p.ID)
	case Participant:
		return fmt.Sprintf("t:%d", p.ID)
	case Device:
		return fmt.Sprintf("d:%d", p.ID)
	}
	return ""
}

// Identity is a principal with its UUID and its name in OpenTera.
type Identity struct {
	Principal
	UUID string
	Name string

	// Token is the counter of the redeemed connect token: a kick affects tokens up to a number. 0 if there was no token.
	Token int64
}

// ParseRef parses "KIND:UUID", as in `terasocket tail --as user:UUID`. It does not check that the principal exists.
func ParseRef(s string) (Kind, string, error) {
	kind, uuid, ok := strings.Cut(s, ":")
	if !ok {
		return 0, "", fmt.Errorf("%q is not KIND:UUID", s)
	}
	k, err := ParseKind(kind)
	return k, uuid, err
}

// isText reports whether PostgreSQL accepts s as a non-empty text: valid UTF-8 without zero bytes.
func isText(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}
