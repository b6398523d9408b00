package access

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind is what a principal is: the three kinds of clients that OpenTera has.
type Kind uint8

// The kinds. The zero Kind is none of them.
const (
	User Kind = iota + 1
	Participant
	Device
)

// Kinds lists the three kinds.
var Kinds = [...]Kind{User, Participant, Device}

// String gives OpenTera's word: "user", "participant" or "device".
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

// ParseKind reads "user", "participant" or "device".
func ParseKind(s string) (Kind, error) {
	for _, k := range Kinds {
		if s == k.String() {
			return k, nil
		}
	}
	return 0, fmt.Errorf("unknown kind %q: it is user, participant or device", s)
}

// Principal is one user, participant or device: the key of id_user, id_participant or id_device.
type Principal struct {
	Kind Kind
	ID   int32
}

// String gives kind and key, "user:12".
func (p Principal) String() string { return fmt.Sprintf("%s:%d", p.Kind, p.ID) }

// Tag is what only this principal holds, "u:12": everybody holds its own who may be connected.
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

// Identity is a principal together with the UUID and the name that OpenTera shows for it.
type Identity struct {
	Principal
	UUID string
	Name string

	// Token is the counter of the connect token that was redeemed: a kick counts for tokens up to a number. 0 where there
	// was no token.
	Token int64
}

// ParseRef reads "KIND:UUID", as `terasocket tail --as user:UUID` takes it. Whether there is such a one is not looked at.
func ParseRef(s string) (Kind, string, error) {
	kind, uuid, ok := strings.Cut(s, ":")
	if !ok {
		return 0, "", fmt.Errorf("%q is not KIND:UUID", s)
	}
	k, err := ParseKind(kind)
	return k, uuid, err
}

// isText says whether PostgreSQL takes it for a text that says something: it has no zero bytes, and is UTF-8.
func isText(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}
