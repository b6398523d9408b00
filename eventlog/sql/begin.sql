-- The state that a gateway starts from. No parameters.
-- Result: the epoch (0: no announcer has begun one since this server was started, so that the last one may be of a restored state), the
-- last seq, whether everything up to it is settled, whether the memory of announcements is filled (a completed fill begins an epoch), and all
-- aliases with their keys.
-- Index: that of epochs; all of aliases
SELECT CASE WHEN terasocket.is_current() THEN (SELECT max(e.begin) FROM terasocket.epochs e) ELSE 0 END, a.last_seq, a.is_settled, a.fill_type IS NULL,
       ARRAY(SELECT l.tag FROM terasocket.aliases l ORDER BY l.tag),
       ARRAY(SELECT l.keys::text FROM terasocket.aliases l ORDER BY l.tag)
FROM   terasocket.announcer a
