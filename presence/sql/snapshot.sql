-- The presence of everyone that this principal may see, and the newest event of before it was let in, 0 when there is none.
-- $1 text: its kind; $2 integer: its id; $3 text: the pg_snapshot in which it was let in
-- Index: the primary key of events, from its high end
SELECT p.snapshot,
       coalesce((SELECT e.seq FROM terasocket.events e
                 WHERE  pg_visible_in_snapshot(e.xid, $3::text::pg_snapshot) ORDER BY e.seq DESC LIMIT 1), 0),
       p.names, p.messages
FROM   terasocket.presence_snapshot($1, $2) p
