package access

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/bcrypt"
)

// Every accepted token was signed with our key, and has one canonical spelling.
func FuzzToken(f *testing.F) {
	key := strings.Repeat("k", 32)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { return at }
	good, err := sign(key, &userClaims{RegisteredClaims: validity(now, "jti", time.Hour), UUID: "u", ServiceAccess: []byte("{}")})
	if err != nil {
		f.Fatal(err)
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"user_uuid": "u"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", ".", "..", "a.b.c", good, good + "=", good[:len(good)-1] + "_", good + "\n", none, strings.Repeat("a.", 5000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		var claims userClaims
		isGood := isToken(token) && parse(token, &claims, []string{"", key, strings.Repeat("o", 32)}, jwt.WithTimeFunc(now), jwt.WithExpirationRequired()) == nil
		if isGood != (token == good) {
			t.Errorf("%q is accepted: %t", token, isGood)
		}
		if isToken(token) && parse(token, &claims, []string{"", ""}) == nil {
			t.Errorf("%q is signed with no key", token)
		}
	})
}

// No code matches an invalid secret, and no input from a client makes a comparison panic.
func FuzzOTP(f *testing.F) {
	for _, seed := range [][2]string{{"JBSWY3DPEHPK3PXP", "123456"}, {"", ""}, {"JBSWY3DPEHPK3PXP", "१२३४५६"}, {"jbswy3dpehpk3pxp", "000000"}, {"\x00", "\xff"}, {"=", "+12345"}} {
		f.Add(seed[0], seed[1])
	}
	u := &Users{Now: func() time.Time { return time.Unix(1_700_000_000, 0) }}
	f.Fuzz(func(t *testing.T, secret, code string) {
		if u.CheckNewOTP(secret, code) && (len(code) != 6 || strings.Trim(code, "0123456789") != "" || strings.Trim(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "") {
			t.Errorf("%q fits %q", code, secret)
		}
	})
}

func FuzzClientVersion(f *testing.F) {
	for _, seed := range [][2]string{{`{"clients": {"a": {"client_name": "b"}}}`, "a"}, {`{"clients": null}`, ""}, {"[]", "a"}, {"", ""}, {`{"clients": {"": null}}`, ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, setting, name string) {
		if c, err := clientVersion(setting, name); c != nil && (err != nil || c.Name == "" && name != "") {
			t.Errorf("%q of %q: %+v, %v", name, setting, c, err)
		}
	})
}

// The recorded form of a client's text is short, valid UTF-8 and one line; an address is counted as a network.
func FuzzRecorded(f *testing.F) {
	for _, seed := range []string{"", "a", "\x00\n\xff", strings.Repeat("é", 300), strings.Repeat("a", 199) + "é", strings.Repeat("\xff", 500),
		"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1%eth0", "1.2.3.4:5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := printable(text); len(got) > 204 || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\n\r\x7f") {
			t.Errorf("%q becomes %q", text, got)
		}
		if got, ok := Network(text); !isText(got) != !ok || strings.Contains(got, "%") {
			t.Errorf("%q becomes the network %q, %t", text, got, ok)
		}
	})
}

func FuzzPasswords(f *testing.F) {
	for _, seed := range []string{"", "Abcdefghi1!", "\x00", "\xff", strings.Repeat("é", 100)} {
		f.Add(seed)
	}
	p := NewPasswords(bcrypt.MinCost)
	f.Fuzz(func(t *testing.T, password string) {
		_ = PasswordWeaknesses(password)
		if p.compare("", password) || p.compare(password, password) {
			t.Errorf("%q matches an invalid hash", password)
		}
	})
}
