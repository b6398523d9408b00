-- What clients may have missed: every row of a transaction that had not ended in a snapshot, each with the snapshot now.
-- The audience is that of now: who must hold the recorded routing keys and those that the object, asked once a page, has
-- by now. (Keys of no clause are nobody's, and stay so.)
-- $1 text: the snapshot; $2 bigint: rows behind this seq; $3: how many at most
-- Index: the primary key
WITH page AS MATERIALIZED (
    SELECT e.*, CASE WHEN e.op IS NULL THEN e.body ELSE 'null' END AS message
    FROM   terasocket.events e
    WHERE  e.seq > $2 AND NOT pg_visible_in_snapshot(e.xid, $1::text::pg_snapshot)
    ORDER  BY e.seq
    LIMIT  $3
), object AS (
    SELECT DISTINCT p.type, coalesce(p.object_type, '') AS object_type, coalesce(p.object_id, 0) AS object_id, p.message FROM page p
), present AS MATERIALIZED (
    SELECT o.*, terasocket.present_keys(o.type, o.object_type, o.object_id, o.message) AS keys FROM object o
)
SELECT p.seq, p.xid, p.at, p.topic, p.type, coalesce(p.op, ''), coalesce(p.object_type, ''), coalesce(p.object_id, 0),
       p.body::text,
       (CASE WHEN jsonb_typeof(p.audience) = 'array' AND p.audience <> '[]' THEN p.audience || n.keys ELSE p.audience END)::text,
       CASE WHEN p.former_body IS NULL THEN '' ELSE p.former::text END, coalesce(p.former_body::text, ''),
       pg_current_snapshot()::text
FROM   page p
JOIN   present n ON n.type = p.type AND n.object_type = coalesce(p.object_type, '') AND n.object_id = coalesce(p.object_id, 0)
                AND n.message = p.message
ORDER  BY p.seq
