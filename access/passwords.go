package access

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// ErrBusy is returned when too many passwords are waiting to be checked; the client must retry later.
var ErrBusy = errors.New("too many logins at once")

// Passwords compares passwords with bcrypt hashes, and creates hashes, one at a time: each takes about 200 ms of a core, and a storm of
// logins must leave the cores to the sockets.
type Passwords struct {
	turns turns  // the comparison in progress and the queue
	cost  int    // of new hashes
	dummy string // compared with the password of an unknown user, at the same cost
}

// PasswordCost is the bcrypt cost of OpenTera's hashes: passlib's default.
const PasswordCost = 12

// NewPasswords returns a Passwords with a bcrypt cost from 4 to 31; one per gateway is enough.
func NewPasswords(cost int) *Passwords {
	return &Passwords{
		cost:  cost,
		dummy: fmt.Sprintf("$2a$%02d$qdGfseejBqw6Rd0aYEF8NeocOYqqUkmuf3MV4BTi40duXtvRJvYOa", cost), // of a password that nobody knows
	}
}

// Match reports whether password matches hash, a bcrypt hash of any ident ($2a$, $2b$, $2y$) as passlib writes it; only the first 72
// bytes of the password count. An empty or invalid hash matches nothing and takes as long.
// Errors: ErrBusy, or ctx's while waiting.
func (p *Passwords) Match(ctx context.Context, hash, password string) (matches bool, err error) {
	err = p.inTurn(ctx, none, func() error {
		matches = p.compare(hash, password)
		return nil
	})
	return matches, err
}

// inTurn runs do, which compares or hashes for a username, when no other call does; the address is that of FromAddress.
// Errors: ErrBusy, ctx's while waiting, or those of do.
func (p *Passwords) inTurn(ctx context.Context, username string, do func() error) error {
	done, err := p.turns.wait(ctx, addressOf(ctx), username)
	if err != nil {
		return err
	}
	defer done()
	return do()
}

// welcome remembers a successful login from the address of FromAddress, which has places of its own from now on.
func (p *Passwords) welcome(ctx context.Context) {
	if p != nil {
		p.turns.welcome(addressOf(ctx))
	}
}

// compare must be called in turn.
func (p *Passwords) compare(hash, password string) bool {
	against := []byte(hash)
	_, err := bcrypt.Cost(against)
	// A zero byte ends a password in bcrypt, so passlib accepts none.
	if err != nil || strings.Contains(password, "\x00") {
		_ = bcrypt.CompareHashAndPassword([]byte(p.dummy), significant(password))
		return false
	}
	return bcrypt.CompareHashAndPassword(against, significant(password)) == nil
}

// hashed returns a hash as passlib writes it. It must be called in turn.
func (p *Passwords) hashed(password string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword(significant(password), p.cost)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return "$2b$" + strings.TrimPrefix(string(hash), "$2a$"), nil
}

// significant returns the bytes of a password that bcrypt uses.
func significant(password string) []byte { return []byte(password)[:min(len(password), maxPassword)] }
