-- What some principals hold at the end of the log.
-- $1 text[]: kinds; $2 integer[]: ids
-- Result, for each: its position, from 1; the epoch; the last seq; whether the memory of announcements is filled (until then nobody's
-- tags are known); the tags, none if it may not be connected
-- Index: the primary key of holdings
SELECT w.place, coalesce((SELECT max(p.begin) FROM terasocket.epochs p), 0), a.last_seq, a.fill_type IS NULL,
       ARRAY(SELECT h.tag FROM terasocket.holdings h WHERE h.kind = w.kind AND h.id = w.id ORDER BY h.tag)
FROM   terasocket.announcer a, unnest($1::text[], $2::integer[]) WITH ORDINALITY w (kind, id, place)
