// Package chaos is the fault suite: numbered changes by several writers, clients of all kinds on three gateways, and everything
// that can break, at random; then the proof, from the database, that everybody heard exactly what was due. Like interleave it
// knows nothing of how terasocket works inside.
//
// chaos_test.go is the story of a run; writers_test.go changes things, clients_test.go listens, faults_test.go breaks things, and
// gateways_test.go has gateways come and go. log_test.go reads what committed and what was announced, proof_test.go compares.
package chaos
