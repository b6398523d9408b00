-- Compares with what OpenTera's user manager has answered.
-- $1 bigint: the term; $2, $3, $4 jsonb: who is online, busy, and statuses of devices; $5 text[]: UUIDs that wait for the next time
-- Result: differences of people, sessions and devices; the statuses that it is to be given
-- Index: those of bridge_reconcile()
SELECT r.people, r.sessions, r.devices, r.give FROM terasocket.bridge_reconcile($1, $2, $3, $4, $5) r
