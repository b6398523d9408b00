package access

// QuickPasswords is NewPasswords for tests: who is unknown costs 4 rounds, like those of dbtest.QuickPasswords. Under
// -race 12 rounds take seconds.
func QuickPasswords() *Passwords {
	p := NewPasswords()
	p.dummy = "$2a$04$" + dummyHash[len("$2a$12$"):]
	return p
}
