// Package interleave holds the property test of interleaved transactions: it changes a small OpenTera in several sessions at
// once, at all isolation levels, lets real clients of real gateways listen, and compares what each of them heard with the
// states that were committed. It knows nothing of how terasocket works inside: it builds the program, runs it, and speaks
// SQL and websocket to it.
//
// The files, in the order of a run: generate_test.go makes up a Program of rounds, run_test.go steps its sessions one
// statement at a time (sessions_test.go), state_test.go reads each committed state with OpenTera's own rules (testdata/state.sql), client_test.go
// listens, judge_test.go compares, shrink_test.go makes a failing program smaller, and script_test.go prints it for psql.
// cases_test.go holds the smallest known cases by name.
//
// INTERLEAVE_TIME (20s) says how long, INTERLEAVE_SEED where the random programs begin, INTERLEAVE_LANES (2) how many run at
// once, INTERLEAVE_GOON=1 counts failures, with INTERLEAVE_EXAMPLES (2) of each kind, and goes on in place of shrinking the
// first. INTERLEAVE_KIND="lost delete" or "leak, live" looks for this kind of problem alone. INTERLEAVE_SERIAL=1 takes one session, INTERLEAVE_SERIAL=single one of one statement a transaction.
package interleave
