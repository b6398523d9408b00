// Package access knows who a client is and what it may see.
//
// # Who
//
// A Principal is a user, participant or device. It opens a socket with a connect token: 32 random bytes, shown once,
// stored as their SHA-256 in terasocket.connect_tokens, bound to kind and principal, good for 60 s and one handshake.
//
// # What
//
// Every event carries routing keys: who may see it, in terms of projects, sites and users, recorded from the object as
// it was in its row before and after the change (migrations 0002 and 0003). Rules asks who holds them now, for a whole
// batch with one statement. So the next event already follows a change of rights, and a change of the object is told to
// those who lose it as well as to those who get it.
//
// Every doubt means no: unknown keys are held by nobody, and an error delivers to nobody.
package access
