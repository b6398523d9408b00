package access

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// databaseWait bounds the database's time while a login holds its turn in Passwords, which everybody else waits for.
const databaseWait = 3 * time.Second

// attempt is one attempt at a username's password, and the account of that username. It is counted when it is taken, before the
// comparison, so that concurrent attempts on any number of gateways never exceed the limit.
type attempt struct {
	number   *int32  // null: none left
	seconds  float64 // to wait until there is one
	id       *int32  // null: unknown username
	who      Identity
	hash     string
	mayEnter bool
}

// guess compares the password with that of the username's account; take runs the query, given a hash of the name and the name. An unknown
// username costs the same query and comparison, and is counted the same.
// Errors: *Refusal, *TooMany, ErrBusy, or the database's.
func guess(ctx context.Context, pool *pgxpool.Pool, passwords *Passwords, kind Kind, username, password string,
	take func(ctx context.Context, who []byte, username *string) (attempt, error)) error {
	who, name := usernameHash(username), &username
	if !isText(username) || len(username) > maxUsername {
		name = nil
	}
	return passwords.inTurn(ctx, string(who), func() error {
		querying, cancel := context.WithTimeout(ctx, databaseWait)
		defer cancel()
		a, err := take(querying, who, name)
		if err != nil {
			return fmt.Errorf("look the %s up: %w", kind, err)
		}
		a.who.Kind = kind
		if a.id == nil {
			a.who = Identity{}
		} else {
			a.who.ID = *a.id
		}
		if a.number == nil {
			return &TooMany{Wait: seconds(a.seconds), Who: a.who}
		}
		matches := passwords.compare(a.hash, password)
		switch {
		case a.id == nil:
			return &Refusal{Status: wrongUsername}
		case !matches:
			return &Refusal{Status: wrongPassword, Who: a.who}
		case !a.mayEnter:
			return &Refusal{Status: disabledAccount, Who: a.who}
		}
		// The attempt is given back before the next one's turn, even if the client has gone.
		returning, cancel := context.WithTimeout(context.WithoutCancel(ctx), databaseWait)
		defer cancel()
		if _, err := pool.Exec(returning, "SELECT terasocket.forget_attempts($1, $2)", kind.String(), who); err != nil {
			return fmt.Errorf("forget failed attempts: %w", err)
		}
		passwords.welcome(ctx)
		return nil
	})
}

// maxUsername is far more than the columns hold.
const maxUsername = 200

func usernameHash(username string) []byte {
	hash := sha256.Sum256([]byte(username))
	return hash[:]
}

// seconds converts seconds of the database to a wait, rounded up so that it does not end too soon.
func seconds(s float64) time.Duration { return max(time.Duration(s*float64(time.Second)), time.Second) }
