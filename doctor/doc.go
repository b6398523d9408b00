// Package doctor reads an installation and says, check by check, what is right and what to do about what is not.
//
// It changes nothing: its questions to the database run in read-only transactions, except a NOTIFY on a channel of its
// own, and a connect token where it is told who to be; beside a running OpenTera, OpenTera's own login then makes a ticket. Each check has a time limit, needs only the checks that it names,
// and prints neither passwords nor tokens.
package doctor
