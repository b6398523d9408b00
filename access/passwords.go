package access

import (
	"context"
	"errors"

	"golang.org/x/crypto/bcrypt"
)

// ErrBusy says that so many passwords are waiting to be checked that another must come back later.
var ErrBusy = errors.New("too many logins at once")

// Passwords compares passwords with bcrypt hashes, one at a time: a comparison takes about 200 ms of a core, and a storm
// of logins must leave the cores to the sockets.
type Passwords struct {
	turn  chan struct{} // holds the one that is comparing
	queue chan struct{} // holds it and all that wait
}

// passwordQueue is how many may wait: a few seconds' worth.
const passwordQueue = 16

// dummyHash is what the password of an unknown user is compared with: cost 12, passlib's default that OpenTera uses, of 32
// random bytes that nobody kept.
const dummyHash = "$2a$12$qdGfseejBqw6Rd0aYEF8NeocOYqqUkmuf3MV4BTi40duXtvRJvYOa"

// NewPasswords makes one; a gateway needs no more.
func NewPasswords() *Passwords {
	return &Passwords{turn: make(chan struct{}, 1), queue: make(chan struct{}, passwordQueue)}
}

// Match says whether password belongs to hash, a bcrypt hash of any ident ($2a$, $2b$, $2y$) as passlib writes it; only
// its first 72 bytes count. A hash that is empty or none of bcrypt's matches nothing and takes as long.
// Errors: ErrBusy, or ctx's while waiting.
func (p *Passwords) Match(ctx context.Context, hash, password string) (bool, error) {
	select {
	case p.queue <- struct{}{}:
		defer func() { <-p.queue }()
	default:
		return false, ErrBusy
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	given := []byte(password)[:min(len(password), 72)]
	against := []byte(hash)
	if _, err := bcrypt.Cost(against); err != nil {
		_ = bcrypt.CompareHashAndPassword([]byte(dummyHash), given)
		return false, nil
	}
	return bcrypt.CompareHashAndPassword(against, given) == nil, nil
}
