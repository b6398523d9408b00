// Package interleave is the property test of interleaved transactions: it changes a small OpenTera in several concurrent
// sessions, at all isolation levels, with real clients on real gateways, and compares what each client received with the
// committed states. It knows nothing about terasocket's internals: it builds the program, runs it, and uses SQL and websockets.
//
// The files, in the order of a run: generate_test.go generates a program of rounds, run_test.go steps its sessions one
// statement at a time (sessions_test.go), state_test.go reads each committed state with OpenTera's own rules
// (testdata/state.sql), client_test.go listens, judge_test.go compares, shrink_test.go shrinks a failing program, and
// schedule_test.go prints it for psql. cases_test.go holds the smallest known cases by name.
//
// INTERLEAVE_TIME (20s) is the duration, INTERLEAVE_SEED the first seed, INTERLEAVE_LANES (2) the number of programs that run
// concurrently. INTERLEAVE_GOON=1 counts failures, with INTERLEAVE_EXAMPLES (2) of each kind, instead of shrinking the first.
// INTERLEAVE_KIND="lost delete" or "leak, live" looks for this kind of problem only. INTERLEAVE_SERIAL=1 uses one session,
// INTERLEAVE_SERIAL=single one session with one statement per transaction.
package interleave
