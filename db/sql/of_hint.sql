-- The seqs of the rows that a hint points at, ascending.
-- $1 text: xid; $2 bigint: first seq; $3 bigint: last seq
-- Index: events_transaction
SELECT e.seq FROM terasocket.events e WHERE e.xid = $1::text::xid8 AND e.seq BETWEEN $2 AND $3 ORDER BY e.seq
