// Package access knows who a client is and what it may see.
//
// # Who
//
// A Principal is a user, participant or device. It opens a socket with a connect token: 32 random bytes, shown once,
// stored as their SHA-256 in terasocket.connect_tokens, bound to kind and principal, good for 60 s and one handshake.
//
// # What
//
// Every event carries routing keys: who may see the object now, and who could see it before, in terms of tags. A gateway
// keeps an Index of its connected principals: what each of them holds, now and before. The log tells it what they gain and
// lose, and what an alias stands for, before it tells of the objects; so an event is judged by the rights of its moment,
// and no query is needed. A principal that connects, or comes back, has a View of its own until it is in the index.
//
// Every doubt means no: unknown tags and malformed keys are held by nobody.
package access
