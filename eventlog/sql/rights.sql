-- What a principal gained and lost, and the changes of aliases, in order, from the last Settled row at or before a cursor.
-- $1 text: kind; $2 bigint: id; $3 bigint: the cursor; $4 bigint: the last seq to return
-- Result: columns of event.Record
-- Index: events_rights, events_aliases
WITH settled AS MATERIALIZED (
    SELECT coalesce(max(e.seq), 0) AS seq FROM terasocket.events e
    WHERE  e.type IN ('terasocket.Alias', 'terasocket.Settled') AND e.type = 'terasocket.Settled' AND e.seq <= $3
), found AS (
    SELECT e.* FROM terasocket.events e, settled s
    WHERE  e.type = 'terasocket.Rights' AND e.object_type = $1 AND e.object_id = $2 AND e.seq > s.seq AND e.seq <= $4
    UNION  ALL
    SELECT e.* FROM terasocket.events e, settled s
    WHERE  e.type IN ('terasocket.Alias', 'terasocket.Settled') AND e.type = 'terasocket.Alias' AND e.seq > s.seq AND e.seq <= $4
)
SELECT f.seq, f.announcement, f.at, f.topic, f.type, coalesce(f.op, ''), coalesce(f.object_type, ''), coalesce(f.object_id, 0),
       coalesce(f.body::text, ''), coalesce(f.gone::text, ''), coalesce(f.present::text, ''), coalesce(f.former::text, ''), coalesce(f.former_as_of, 0)
FROM   found f
ORDER  BY f.seq
