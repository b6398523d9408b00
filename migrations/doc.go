// Package migrations installs terasocket in an OpenTera database and removes it again.
//
// Everything of ours lives in the schema terasocket, with triggers (and indexes named terasocket_*) on OpenTera's tables. The files
// NNNN_name.{up,down}.sql hold tables, types and data; golang-migrate runs them, each in one transaction, and keeps its version table in
// our schema. The files functions/*.sql hold every function, view and trigger on our own tables; they are applied again, all in one
// transaction, whenever their hash differs from the one in terasocket.functions. Work on OpenTera's tables (triggers, indexes, the first
// fill) is done in small steps, each of which soon gives up its lock and retries: no writer waits for a second, and none fails with a
// deadlock with us. An interrupted `migrate up` continues where it stopped.
//
// Down is one transaction: it does everything that was asked for, or nothing. After the last down nothing of ours is left.
package migrations
