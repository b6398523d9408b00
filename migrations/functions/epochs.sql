-- Epochs: whose past the log holds. No seq is given out twice: not after a promotion, a restore of any form, a disk put back,
-- pg_upgrade or logical replication. What makes another past possible makes another of the values below, or a restart; each
-- begins an epoch, whose seqs are moved to the clock in microseconds.

-- this_server: what an epoch is known by.
CREATE OR REPLACE FUNCTION terasocket.this_server(OUT system_identifier bigint, OUT timeline integer, OUT started_at timestamptz, OUT database oid, OUT log oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer, pg_postmaster_start_time(), d.oid,
           'terasocket.events'::regclass::oid
    FROM   pg_control_system() s, pg_database d WHERE d.datname = current_database()
$$;

-- current_epoch: the newest row's begin; 0: there is none yet.
CREATE OR REPLACE FUNCTION terasocket.current_epoch() RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    RETURN coalesce((SELECT max(e.begin) FROM terasocket.epochs e), 0);
END $$;

-- begin_epoch: the caller holds the announcer's lock. last_seen: the highest seq that the caller knows of. What is left of
-- the past is forgotten: transaction ids, kicks that were captured and not announced, tokens that may have been used.
CREATE OR REPLACE FUNCTION terasocket.begin_epoch(reason text, last_seen bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    old_end   bigint := greatest((SELECT max(e.seq) FROM terasocket.events e), (SELECT t.seq FROM terasocket.trimmed t), 0);
    begins    bigint;
    is_first  boolean := NOT EXISTS (SELECT FROM terasocket.epochs);
BEGIN
    SELECT greatest(extract(epoch FROM clock_timestamp()) * 1000000, a.last_seq, old_end, (SELECT max(e.begin) FROM terasocket.epochs e), last_seen) + 1
    INTO   begins FROM terasocket.announcer a;
    INSERT INTO terasocket.epochs (begin, old_end, reason, system_identifier, timeline, started_at, database, log)
    SELECT begins, old_end, begin_epoch.reason, s.* FROM terasocket.this_server() s;
    PERFORM terasocket.note_announcement(a.announcement + 1, begins, NULL, a.is_settled) FROM terasocket.announcer a;
    -- the last hundred are enough to answer any cursor whose events are held
    DELETE FROM terasocket.epochs e WHERE e.begin < (SELECT o.begin FROM terasocket.epochs o ORDER BY o.begin DESC OFFSET 100 LIMIT 1);
    RETURN begins;
END $$;

-- enter_epoch: the current epoch; a new one when this is not the server, or not the run of it, that began the last one.
CREATE OR REPLACE FUNCTION terasocket.enter_epoch(last_seen bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    s  record;
    e  terasocket.epochs;
BEGIN
    SELECT * INTO e FROM terasocket.epochs o ORDER BY o.begin DESC LIMIT 1;
    -- no two servers were started in the same microsecond, and a promotion finds the start time of its primary
    IF e.started_at = pg_postmaster_start_time() AND e.log = 'terasocket.events'::regclass
       AND e.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
       AND (SELECT v.seq FROM terasocket.events v ORDER BY v.seq DESC LIMIT 1) > (SELECT a.last_seq FROM terasocket.announcer a) IS NOT TRUE THEN
        RETURN e."begin";
    END IF;
    SELECT * INTO s FROM terasocket.this_server();
    IF e.log IS NULL THEN
        RETURN terasocket.begin_epoch('installed', last_seen);
    ELSIF e.system_identifier <> s.system_identifier OR e.log <> s.log OR e.timeline <> s.timeline THEN
        PERFORM terasocket.forget_the_past();
        UPDATE terasocket.filling SET fill_type = 'start', fill_id = 0;   -- it may be a part of a dump
        RETURN terasocket.begin_epoch(CASE WHEN e.system_identifier <> s.system_identifier THEN 'another server'
            WHEN e.log <> s.log THEN 'another log' ELSE 'another timeline' END, last_seen);
    ELSIF e.database <> s.database THEN   -- a copy of files: whole
        PERFORM terasocket.forget_the_past();
        RETURN terasocket.begin_epoch('another database', last_seen);
    ELSIF e.started_at <> s.started_at THEN
        RETURN terasocket.begin_epoch('the server was started again', last_seen);
    END IF;
    PERFORM terasocket.forget_the_past();
    UPDATE terasocket.filling SET fill_type = 'start', fill_id = 0;
    RETURN terasocket.begin_epoch('the log was restored into this database', last_seen);
END $$;

-- forget_the_past: what must not come back to life in a database that was restored or promoted. Kicks and messages that were
-- captured there and not announced are not executed here; connect tokens, second steps and all tokens that were signed
-- before are void (their keys are replaced: who was logged out stays out).
CREATE OR REPLACE FUNCTION terasocket.forget_the_past() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM terasocket.changes c WHERE c.what IN ('message', 'presence', 'kick');
    DELETE FROM terasocket.connect_tokens;
    DELETE FROM terasocket.login_sessions;
    DELETE FROM terasocket.signing_keys;
    DELETE FROM terasocket.kicked;
END $$;
