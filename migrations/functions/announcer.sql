-- The announcer: its memory, and its lock. LOCK TABLE terasocket.announcer locks the tables under it.
CREATE OR REPLACE VIEW terasocket.announcer AS
SELECT n.announcement, n.last_seq, n.snapshot, n.is_settled, f.fill_type, f.fill_id
FROM   (SELECT * FROM terasocket.filling LIMIT 1) f,   -- (LIMIT: without statistics the planner estimates 1,000 rows)
       (SELECT a.* FROM terasocket.announcements a ORDER BY a.announcement DESC LIMIT 1) n;
COMMENT ON VIEW terasocket.announcer IS 'what was announced last, and whether the memory of announcements is filled';

-- note_announcement: stores the announcer's new memory. Now and then it deletes old rows, from the old end.
CREATE OR REPLACE FUNCTION terasocket.note_announcement(announcement bigint, last_seq bigint, snapshot pg_snapshot, is_settled boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO terasocket.announcements VALUES (announcement, last_seq, snapshot, is_settled);
    IF announcement % 1000 = 0 THEN
        DELETE FROM terasocket.announcements a
        WHERE  a.announcement BETWEEN note_announcement.announcement - 3000 AND note_announcement.announcement - 1000;
    END IF;
END $$;
