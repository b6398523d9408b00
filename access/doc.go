// Package access authenticates clients and decides what they may see.
//
// # Who
//
// A Principal is a user, participant or device. It opens a socket with a connect token: 32 random bytes, shown once, stored as their
// SHA-256 in terasocket.connect_tokens, bound to kind and principal, valid for 60 s and one handshake.
//
// # What
//
// Every event carries routing keys, in terms of tags: who may see the object now, and who could see it before. A gateway keeps an Index
// of its connected principals: the tags that each holds now and held before. The log reports changes of rights and aliases before the
// objects, so each event is judged by the rights of its moment, without a query. A principal that connects or resumes has a View of its
// own until it is in the index.
//
// When in doubt, access is denied: nobody holds unknown tags or satisfies malformed keys.
package access
