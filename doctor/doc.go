// Package doctor examines an installation and reports, check by check, what is right, what is wrong and how to fix it.
//
// It changes nothing: database queries run in read-only transactions, except a NOTIFY on a channel of its own, and a connect
// token if --as names somebody; beside a running OpenTera, OpenTera's own login then makes a ticket. Each check has a time
// limit, needs only the checks that it names, and prints neither passwords nor tokens.
package doctor
