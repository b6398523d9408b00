// Package embedded runs a throw-away PostgreSQL cluster from the server programs installed on the machine: for `terasocket demo`, for
// tests and for benchmarks. It knows nothing of OpenTera.
//
// A cluster lives in one new directory: data, unix socket and log. It listens only on 127.0.0.1, trusts every connection there, and gives
// up durability (fsync off) for speed; do not keep data in it.
//
// PostgreSQL refuses to run as root. Started by root, all of its programs run as the user postgres, or nobody if there is no such user.
//
// # What ends it
//
// [Server.Stop] does. If the program dies first, however it dies, a watchdog (a five-line shell script that holds the other end of a
// pipe) sees the pipe close, ends the server and removes the directory. On Linux the kernel signals the server too (PR_SET_PDEATHSIG).
package embedded
