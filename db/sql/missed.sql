-- The snapshot now, and the seqs of all rows that the cursor does not see, ascending.
-- $1 text: the cursor, a pg_snapshot; $2 text: only rows that this earlier snapshot sees, or null for all
-- Index: events_transaction
SELECT pg_current_snapshot()::text,
       ARRAY(SELECT e.seq
             FROM   terasocket.events e
             WHERE  e.xid >= pg_snapshot_xmin($1::text::pg_snapshot)
               AND  NOT pg_visible_in_snapshot(e.xid, $1::text::pg_snapshot)
               AND  ($2::text IS NULL OR pg_visible_in_snapshot(e.xid, $2::text::pg_snapshot))
             ORDER  BY e.seq)
