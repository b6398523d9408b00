-- The state that a gateway starts from. No parameters.
-- Result: the epoch (0: no announcer has begun one since this server was started; what the last one says may be of a state that
-- was put back), the last seq, whether everything up to it is settled,
-- whether the memory of announcements is filled (an epoch begins when it is), and all aliases with their keys.
-- Index: that of epochs; aliases as a whole
SELECT CASE WHEN terasocket.is_current() THEN (SELECT max(e.begin) FROM terasocket.epochs e) ELSE 0 END, a.last_seq, a.is_settled, a.fill_type IS NULL,
       ARRAY(SELECT l.tag FROM terasocket.aliases l ORDER BY l.tag),
       ARRAY(SELECT l.keys::text FROM terasocket.aliases l ORDER BY l.tag)
FROM   terasocket.announcer a
