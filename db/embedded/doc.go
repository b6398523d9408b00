// Package embedded runs a throw-away PostgreSQL cluster from the server
// programs that the machine has: for `terasocket demo`, for the tests and for
// benchmarks. It knows nothing of OpenTera.
//
// A cluster lives in one new directory: data, unix socket and log. It listens
// on 127.0.0.1 only, trusts whoever connects there, and gives up durability
// (fsync off) for speed; it is not for data that anybody wants to keep.
//
// PostgreSQL refuses to run as root. Started by root, all of its programs run
// as the user postgres, or nobody where there is no such user.
//
// # What ends it
//
// [Server.Stop] does. If the program dies first, however it dies, a watchdog
// (a five-line shell script that holds the other end of a pipe) sees the pipe
// close, ends the server and removes the directory. On Linux the server is
// also told by the kernel (PR_SET_PDEATHSIG).
package embedded
