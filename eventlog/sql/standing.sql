-- What somebody holds, as of the end of the log.
-- $1 text: kind; $2 integer: id
-- Result: the epoch, the last seq, whether the memory of announcements is filled (until then nobody's tags are known), the
-- tags; none: it may not be connected
-- Index: the primary key of holdings
SELECT coalesce((SELECT max(p.begin) FROM terasocket.epochs p), 0), a.last_seq, a.fill_type IS NULL,
       ARRAY(SELECT h.tag FROM terasocket.holdings h WHERE h.kind = $1 AND h.id = $2 ORDER BY h.tag)
FROM   terasocket.announcer a
