// Package migrations puts terasocket into an OpenTera database and takes it out again.
//
// Everything of ours lives in the schema terasocket, with triggers (and indexes named terasocket_*) on OpenTera's
// tables. The files NNNN_name.{up,down}.sql are embedded; golang-migrate runs them and keeps its version table in our
// schema. Each file runs as one transaction, so a migration is there whole or not at all. After the last down, the
// schema itself is dropped and nothing of ours is left.
package migrations
