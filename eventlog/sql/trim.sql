-- Deletes the oldest rows of the log that exceed its bounds, and moves trimmed with them; nothing while another gateway does.
-- $1 interval: retention; $2 bigint: maximum number of rows in the log; $3 integer: and to delete
-- Result: number of rows deleted; no row when there is nothing to do
-- Seqs are contiguous within an epoch, so rows need not be counted.
-- trimmed.is_settled: false if Rights or Alias rows were trimmed, but not the Settled row after them.
-- Index: the primary key, above what was trimmed before
WITH was AS MATERIALIZED (
    SELECT t.seq FROM terasocket.trimmed t FOR UPDATE SKIP LOCKED
), span AS (
    SELECT p.begin, p.last, sum(p.last - p.begin) OVER (ORDER BY p.begin DESC) - (p.last - p.begin) AS newer
    FROM  (SELECT e.begin, greatest(e.begin, coalesce(lead(e.old_end) OVER (ORDER BY e.begin), a.last_seq)) AS last
           FROM terasocket.epochs e, terasocket.announcer a) p
), too_many AS MATERIALIZED (
    SELECT max(s.last - ($2 - s.newer)) AS seq FROM span s WHERE s.newer <= $2 AND $2 < s.newer + s.last - s.begin
), bound AS MATERIALIZED (
    SELECT max(k.seq) AS seq
    FROM   was, LATERAL (SELECT e.seq, max(e.at) OVER (ORDER BY e.seq) AS at FROM terasocket.events e   -- (a single row may have waited long)
                        WHERE e.seq > was.seq ORDER BY e.seq LIMIT $3) k
    WHERE  k.at < now() - $1::interval OR k.seq <= (SELECT m.seq FROM too_many m)
), gone AS (
    DELETE FROM terasocket.events e USING was, bound b WHERE e.seq > was.seq AND e.seq <= b.seq RETURNING e.seq, e.type
)
UPDATE terasocket.trimmed t
SET    seq = b.seq,
       is_settled = coalesce((SELECT g.type = 'terasocket.Settled' FROM gone g WHERE g.type IN ('terasocket.Rights', 'terasocket.Alias', 'terasocket.Settled')
                              ORDER BY g.seq DESC LIMIT 1), t.is_settled)
FROM   bound b WHERE b.seq IS NOT NULL
RETURNING (SELECT count(*) FROM gone)
