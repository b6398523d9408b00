-- Until when a gateway looks for changes by itself, so that nobody has to notify: microseconds since 1970 by PostgreSQL's clock,
-- 0: it does not (functions/poll.sql). A sequence, and not a row: who reads it reads what is, whatever the snapshot; it leaves no
-- dead row for a dump to keep, and a SERIALIZABLE writer takes no lock by it that could make it fail.
CREATE SEQUENCE terasocket.polled_until MINVALUE 0 START 0;
COMMENT ON SEQUENCE terasocket.polled_until IS 'until when writers need not NOTIFY, since a gateway polls: microseconds since 1970; 0: they must';
