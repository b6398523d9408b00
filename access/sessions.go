package access

import "context"

// StartSession begins the second step of a login: a random secret, good for 15 minutes.
func (u *Users) StartSession(ctx context.Context, id int32) (string, error) { return "", errTODO }

// BySession says whose second step it is. Errors: *Refusal, or the database's.
func (u *Users) BySession(ctx context.Context, secret string) (Account, error) {
	return Account{}, errTODO
}

// EndSession ends it; one that is over already is none's loss.
func (u *Users) EndSession(ctx context.Context, secret string) error { return errTODO }
