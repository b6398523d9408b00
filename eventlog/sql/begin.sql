-- The state that a gateway starts from. No parameters.
-- Result: the epoch (0: nobody has announced anything yet), the last seq, whether everything up to it is settled,
-- whether the memory of announcements is filled (an epoch begins when it is), and all aliases with their keys.
-- Index: that of epochs; aliases as a whole
SELECT coalesce((SELECT max(e.begin) FROM terasocket.epochs e), 0), a.last_seq, a.is_settled, terasocket.is_filled(),
       ARRAY(SELECT l.tag FROM terasocket.aliases l ORDER BY l.tag),
       ARRAY(SELECT l.keys::text FROM terasocket.aliases l ORDER BY l.tag)
FROM   terasocket.announcer a
