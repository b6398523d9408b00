-- Compares the database with the answers of OpenTera's user manager.
-- $1 bigint: the term; $2, $3, $4 jsonb: online, busy, device statuses; $5 text[]: UUIDs left to the next reconciliation
-- Result: differences of people, sessions and devices; the statuses that the user manager lacks
-- Index: those of bridge_reconcile()
SELECT r.people, r.sessions, r.devices, r.give FROM terasocket.bridge_reconcile($1, $2, $3, $4, $5) r
