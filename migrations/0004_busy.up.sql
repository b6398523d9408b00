-- Who is busy: since when, and whether the session was ever seen in OpenTera's table, so that it is known when it is gone from there.
ALTER TABLE terasocket.busy
    ADD COLUMN since     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN is_known  boolean     NOT NULL DEFAULT false;
COMMENT ON COLUMN terasocket.busy.is_known IS 'the session is, or was, in OpenTera''s table: whoever is in it leaves when it is not there any more';
