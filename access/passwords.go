package access

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// ErrBusy says that so many passwords are waiting to be checked that another must come back later.
var ErrBusy = errors.New("too many logins at once")

// Passwords compares passwords with bcrypt hashes, and makes such hashes, one at a time: either takes about 200 ms of a
// core, and a storm of logins must leave the cores to the sockets.
type Passwords struct {
	turns turns  // the one that is comparing, and all that wait
	cost  int    // of the hashes that it makes
	dummy string // what the password of an unknown user is compared with, of that cost
}

// PasswordCost is bcrypt's cost of the hashes that OpenTera makes: passlib's default.
const PasswordCost = 12

// NewPasswords makes one, of a bcrypt cost from 4 to 31; a gateway needs no more.
func NewPasswords(cost int) *Passwords {
	return &Passwords{
		cost:  cost,
		dummy: fmt.Sprintf("$2a$%02d$qdGfseejBqw6Rd0aYEF8NeocOYqqUkmuf3MV4BTi40duXtvRJvYOa", cost), // of what nobody knows
	}
}

// Match says whether password belongs to hash, a bcrypt hash of any ident ($2a$, $2b$, $2y$) as passlib writes it; only
// its first 72 bytes count. A hash that is empty or none of bcrypt's matches nothing and takes as long.
// Errors: ErrBusy, or ctx's while waiting.
func (p *Passwords) Match(ctx context.Context, hash, password string) (matches bool, err error) {
	err = p.inTurn(ctx, none, func() error {
		matches = p.compare(hash, password)
		return nil
	})
	return matches, err
}

// inTurn runs do, which compares or hashes for a username, when nobody else does; the address is that of FromAddress.
// Errors: ErrBusy, ctx's while waiting, or those of do.
func (p *Passwords) inTurn(ctx context.Context, username string, do func() error) error {
	done, err := p.turns.wait(ctx, addressOf(ctx), username)
	if err != nil {
		return err
	}
	defer done()
	return do()
}

// welcome remembers that somebody has come in from the address of FromAddress: it has places of its own from now on.
func (p *Passwords) welcome(ctx context.Context) {
	if p != nil {
		p.turns.welcome(addressOf(ctx))
	}
}

// compare is for whoever has the turn.
func (p *Passwords) compare(hash, password string) bool {
	against := []byte(hash)
	_, err := bcrypt.Cost(against)
	// A zero byte ends a password in bcrypt, so passlib takes none with one.
	if err != nil || strings.Contains(password, "\x00") {
		_ = bcrypt.CompareHashAndPassword([]byte(p.dummy), significant(password))
		return false
	}
	return bcrypt.CompareHashAndPassword(against, significant(password)) == nil
}

// hashed is for whoever has the turn: a hash as passlib writes it.
func (p *Passwords) hashed(password string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword(significant(password), p.cost)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return "$2b$" + strings.TrimPrefix(string(hash), "$2a$"), nil
}

// significant is what of a password counts.
func significant(password string) []byte { return []byte(password)[:min(len(password), maxPassword)] }
