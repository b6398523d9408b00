// Package migrations puts terasocket into an OpenTera database and takes it out again.
//
// Everything of ours lives in the schema terasocket, with triggers (and indexes named terasocket_*) on OpenTera's tables.
// The files NNNN_name.{up,down}.sql hold tables, types and data; golang-migrate runs them, each as one transaction, and keeps
// its version table in our schema. The files functions/*.sql hold every function, view and trigger on our own tables; they
// are applied again, all in one transaction, whenever their hash differs from the one in terasocket.functions. What is to be
// done on OpenTera's tables (triggers, indexes, the first reading) is done in small steps, each of which gives up its lock
// soon and tries again: no writer waits for a second, and none dies of a deadlock with us. `migrate up` that was interrupted
// goes on where it was.
//
// Down is one transaction: nothing has changed, or all that was asked for. After the last down nothing of ours is left.
package migrations
