-- Epochs: the history to which the log belongs. No seq is given out twice: not after a promotion, a restore of any form, a disk put back,
-- pg_upgrade or logical replication. Whatever brings back another past changes one of the values below, or restarts the server; each of
-- these begins an epoch, whose seqs start at the clock in microseconds.

-- this_server: the values that identify an epoch.
CREATE OR REPLACE FUNCTION terasocket.this_server(OUT system_identifier bigint, OUT timeline integer, OUT started_at timestamptz, OUT database oid, OUT log oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer, pg_postmaster_start_time(), d.oid,
           'terasocket.events'::regclass::oid
    FROM   pg_control_system() s, pg_database d WHERE d.datname = current_database()
$$;

-- is_written_here: whether the rows of these tables were written here, not by a restore or logical replication.
CREATE OR REPLACE FUNCTION terasocket.is_written_here() RETURNS boolean
LANGUAGE plpgsql STABLE AS $$ BEGIN
    RETURN (SELECT count(*) = 1 AND bool_and(w.xmin = w.xid::xid) FROM terasocket.written_here w)
       AND (SELECT max(v.seq) FROM terasocket.events v) > (SELECT a.last_seq FROM terasocket.announcements a ORDER BY a.announcement DESC LIMIT 1) IS NOT TRUE;
END $$;

-- epoch_of_this_run: the current epoch if it was begun here, by this run of this server, in this database; otherwise null. No two servers
-- start in the same microsecond, and a promoted standby does not find its own start time.
CREATE OR REPLACE FUNCTION terasocket.epoch_of_this_run() RETURNS bigint
LANGUAGE plpgsql STABLE AS $$ BEGIN
    RETURN (SELECT e.begin FROM (SELECT * FROM terasocket.epochs o ORDER BY o.begin DESC LIMIT 1) e
            WHERE  e.started_at = pg_postmaster_start_time() AND e.log = 'terasocket.events'::regclass
              AND  e.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
              AND  terasocket.is_written_here());
END $$;

-- is_current: the same as a boolean, for gateways.
CREATE OR REPLACE FUNCTION terasocket.is_current() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN
    RETURN terasocket.epoch_of_this_run() IS NOT NULL;
END $$;

-- begin_epoch: the caller holds the announcer's lock, and is in no subtransaction. last_seen: the highest seq that the caller knows of.
CREATE OR REPLACE FUNCTION terasocket.begin_epoch(reason text, last_seen bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    old_end   bigint := greatest((SELECT max(e.seq) FROM terasocket.events e), (SELECT t.seq FROM terasocket.trimmed t), 0);
    begins    bigint;
BEGIN
    SELECT greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, a.last_seq, old_end, (SELECT max(e.begin) FROM terasocket.epochs e), last_seen) + 1
    INTO   begins FROM terasocket.announcer a;
    INSERT INTO terasocket.epochs (begin, old_end, reason, system_identifier, timeline, started_at, database, log, is_gap)
    SELECT begins, old_end, begin_epoch.reason, s.*, begin_epoch.reason = 'filled' FROM terasocket.this_server() s;
    PERFORM terasocket.note_announcement(a.announcement + 1, begins, NULL, a.is_settled) FROM terasocket.announcer a;
    DELETE FROM terasocket.written_here;
    INSERT INTO terasocket.written_here DEFAULT VALUES;
    -- the last hundred are enough to answer any cursor whose events are in the log
    DELETE FROM terasocket.epochs e WHERE e.begin < (SELECT o.begin FROM terasocket.epochs o ORDER BY o.begin DESC OFFSET 100 LIMIT 1);
    RETURN begins;
END $$;

-- enter_epoch: returns the current epoch; begins one when another server, or another run of it, began the last one, when a restore or
-- logical replication wrote rows into these tables, or when somebody has seen more of the log than there is (is_ahead): a machine put back
-- to a snapshot that includes its memory notices nothing itself.
CREATE OR REPLACE FUNCTION terasocket.enter_epoch(last_seen bigint, is_ahead boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    e          terasocket.epochs;
    a          terasocket.announcer;
    s          record;
    is_here    boolean;
    is_gap     boolean;
    reason     text;
    begins     bigint := terasocket.epoch_of_this_run();
BEGIN
    IF begins IS NOT NULL AND NOT is_ahead THEN
        RETURN begins;
    END IF;
    PERFORM terasocket.check_it_is_whole();
    SELECT * INTO e FROM terasocket.epochs o ORDER BY o.begin DESC LIMIT 1;
    SELECT * INTO a FROM terasocket.announcer;
    is_here := terasocket.is_written_here();
    SELECT * INTO s FROM terasocket.this_server();
    reason := CASE WHEN e.log IS NULL AND is_here               THEN 'installed'
                   WHEN e.system_identifier <> s.system_identifier THEN 'another server'
                   WHEN e.log <> s.log                          THEN 'another log'
                   WHEN NOT is_here                             THEN 'the log was restored into this database'
                   WHEN e.timeline <> s.timeline                THEN 'another timeline'
                   WHEN e.database <> s.database                THEN 'another database'
                   WHEN last_seen > a.last_seq                  THEN 'an older state of this server was put back'
                   ELSE 'the server was started again' END;
    IF reason = 'the server was started again' AND last_seen = 0 THEN
        IF s.started_at > clock_timestamp() - interval '10 seconds' AND EXISTS (SELECT FROM terasocket.gateways g WHERE g.lease_until > clock_timestamp()) THEN
            RAISE lock_not_available USING MESSAGE = 'this server was started again a moment ago: a gateway that has lived through it is to begin the epoch';
        END IF;
        PERFORM terasocket.forget_tokens();   -- nobody can tell whether this is an older state
    ELSIF reason NOT IN ('installed', 'the server was started again') THEN
        is_gap := EXISTS (SELECT FROM terasocket.changes c WHERE c.what IN ('message', 'presence', 'kick'));
        PERFORM terasocket.forget_the_past();
    END IF;
    IF reason IN ('another server', 'another log', 'the log was restored into this database') THEN   -- otherwise these are its own files, and complete
        UPDATE terasocket.filling SET fill_type = 'start', fill_id = 0;
    END IF;
    begins := terasocket.begin_epoch(reason, last_seen);
    IF is_gap THEN
        UPDATE terasocket.epochs o SET is_gap = true WHERE o.begin = begins;
    END IF;
    RETURN begins;
END $$;

-- check_it_is_whole: fails during a restore, and in a subscriber of logical replication: what is written meanwhile would conflict with
-- rows still to come. A restore creates the primary keys once all rows are there.
CREATE OR REPLACE FUNCTION terasocket.check_it_is_whole() RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    name text := terasocket.subscription();
BEGIN
    IF name IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('this database is a subscriber of logical replication (subscription %s): nothing is announced here', name),
            HINT = format('Connect to the publisher. When this database is to take its place: ALTER SUBSCRIPTION %I DISABLE, or drop it.', name);
    END IF;
    SELECT c.oid::regclass INTO name FROM pg_class c
    WHERE  c.relkind = 'r' AND (c.relnamespace = 'terasocket'::regnamespace
                                OR c.oid IN (SELECT to_regclass('OPENTERA.' || o.table_name) FROM terasocket.object_types o))
    AND    NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid) LIMIT 1;
    IF FOUND THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('this database is being restored: table %s has no primary key yet', name),
            HINT = 'If no restore is under way, one has failed, or somebody has dropped that key: make it again.';
    END IF;
END $$;

-- subscription: an enabled one that writes our log or OpenTera's tables; null: none.
CREATE OR REPLACE FUNCTION terasocket.subscription() RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT min(u.subname) FROM pg_subscription u
    JOIN   pg_stat_subscription s ON s.subname = u.subname
    JOIN   pg_subscription_rel r ON r.srsubid = s.subid AND r.srrelid IN ('terasocket.events'::regclass, to_regclass('OPENTERA.t_users'))
    WHERE  u.subenabled AND u.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

-- forget_the_past: deletes what must not come back to life in a database that was restored, copied or promoted. Messages and kicks that
-- were captured there and not announced may have been announced elsewhere. The rows of kicked stay: they void OpenTera's login tickets,
-- which are in Redis and survive this.
CREATE OR REPLACE FUNCTION terasocket.forget_the_past() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    t record;
BEGIN
    DELETE FROM terasocket.changes c WHERE c.what IN ('message', 'presence', 'kick');
    PERFORM terasocket.forget_tokens();
    -- logical replication does not bring sequences, and a partial restore not theirs
    -- (the numbers of capture_errors are counted as errors: use none up)
    FOR t IN SELECT a.attrelid::regclass AS name, a.attname AS key, pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) AS sequence
             FROM   pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relnamespace = 'terasocket'::regnamespace
             WHERE  a.attidentity <> '' AND NOT a.attisdropped
             UNION  ALL
             SELECT 'terasocket.kicked', 'counter', 'terasocket.connect_tokens_counter' LOOP
        EXECUTE format('SELECT setval(%3$L, max(t.%2$I)) FROM %1$s t HAVING max(t.%2$I) > coalesce(pg_sequence_last_value(%3$L), 0)', t.name, t.key, t.sequence);
    END LOOP;
END $$;

-- forget_tokens: voids connect tokens, second steps and all tokens signed before (with new keys), so that whoever was logged out stays
-- out.
CREATE OR REPLACE FUNCTION terasocket.forget_tokens() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM terasocket.connect_tokens;
    DELETE FROM terasocket.login_sessions;
    DELETE FROM terasocket.signing_keys;
END $$;
