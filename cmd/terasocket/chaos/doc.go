// Package chaos is the fault suite: numbered changes by several writers, clients of all kinds on three gateways, and random
// faults everywhere; then the proof, from the database, that every client received exactly what it should. Like interleave it
// knows nothing about terasocket's internals.
//
// chaos_test.go runs it; writers_test.go makes changes, clients_test.go listens, faults_test.go injects faults, and
// gateways_test.go starts and stops gateways. log_test.go reads what committed and what was announced; proof_test.go compares.
package chaos
