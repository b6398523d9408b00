-- Announce: turns what has committed since the last announcement into rows of the log, in one snapshot, one at a time in the cluster. The
-- caller's transaction is REPEATABLE READ and holds the lock of terasocket.announcer, taken before the snapshot:
--   BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE NOWAIT; SELECT * FROM terasocket.announce();
--   COMMIT
-- (VOLATILE functions of a READ COMMITTED transaction see other commits between two of their statements.)
--
-- Memory: told and holdings hold what the log has announced so far. They always equal the last announced state: a change of anything that
-- keys are computed from is a change of every object whose keys it enters (dependents(), file dependents.sql).

-- announce: at_most bounds the objects announced (all rights of the snapshot are announced); more: call again at once; null: nothing is
-- announced until the memory is filled, see fill(). careful: an object that fails is set aside. last_seen: the highest seq that the
-- caller knows of.
CREATE OR REPLACE FUNCTION terasocket.announce(at_most integer DEFAULT 2000, careful boolean DEFAULT false, last_seen bigint DEFAULT 0,
    OUT epoch bigint, OUT last_seq bigint, OUT announced integer, OUT more boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off SET lock_timeout = '100ms'
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$   -- dead rows of changes must cost nothing
DECLARE
    a       terasocket.announcer;
    picked  terasocket.changes[];   -- ordered by id
    late    terasocket.changes[];   -- changes of which only the rights are announced now
    rows    terasocket.events[] := '{}';
    types   text[];                 -- of the picked changes
    is_wide boolean;                -- some are of a whole type, or what a trigger could not record
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        RAISE invalid_transaction_state USING MESSAGE = 'announce() needs a REPEATABLE READ transaction that holds the lock of terasocket.announcer';
    END IF;
    SELECT * INTO a FROM terasocket.announcer;
    epoch := terasocket.enter_epoch(announce.last_seen, announce.last_seen > a.last_seq);
    IF epoch > a.last_seq THEN   -- it has just begun
        SELECT * INTO a FROM terasocket.announcer;
    END IF;
    last_seq := a.last_seq;
    announced := 0;
    IF a.fill_type IS NOT NULL THEN
        RETURN;
    END IF;

    SELECT p.picked, p.more INTO picked, more FROM terasocket.pick(a.snapshot, at_most) p;
    IF picked = '{}' AND a.is_settled THEN
        RETURN;   -- nothing new
    END IF;
    SELECT coalesce(array_agg(DISTINCT c.what), '{}'), bool_or(c.xid = '0' OR c.ids IS NULL AND c.what NOT IN ('message', 'presence', 'kick'))
    INTO   types, is_wide FROM unnest(picked) c;
    IF 'everything' = ANY (types)
       OR more AND terasocket.changes_overflow() AND EXISTS (SELECT FROM terasocket.changes c WHERE c.what = 'everything') THEN
        more := NULL;   -- even if other changes precede it
        UPDATE terasocket.filling SET fill_type = 'start', fill_id = 0;
        RETURN;
    ELSIF is_wide AND terasocket.spread(picked, at_most) THEN
        more := true;
        RETURN;
    END IF;
    IF more THEN
        late := terasocket.late_rights(a.snapshot, picked);
    END IF;
    rows := terasocket.announced_rights(picked || late);
    a.is_settled := a.is_settled AND rows = '{}';
    rows := rows || terasocket.announced_objects(picked, types, careful, CASE WHEN more THEN a.last_seq + cardinality(rows) END);
    IF types && '{message,presence,kick}' THEN
        rows := rows || terasocket.announced_messages(picked, careful);
    END IF;
    IF NOT a.is_settled AND NOT more THEN
        rows := rows || ROW(0, 2, clock_timestamp(), '', 'terasocket.Settled', NULL, NULL, NULL, '{}', NULL, NULL, NULL, NULL)::terasocket.events;
        a.is_settled := true;
    END IF;
    PERFORM terasocket.consume(picked, late, more);
    -- (until here, announcement is 0 for rights, 1 for the rest, 2 for Settled, and seq is the id of the change)
    INSERT INTO terasocket.events (seq, announcement, at, topic, type, op, object_type, object_id, body, gone, present, former, former_as_of)
    SELECT a.last_seq + row_number() OVER (ORDER BY r.announcement, r.seq, r.op = 'C', r.object_type, r.object_id), a.announcement + 1,
           r.at, r.topic, r.type, r.op, r.object_type, r.object_id, r.body, r.gone, r.present, r.former, r.former_as_of
    FROM   unnest(rows) r;
    announced := cardinality(rows);
    last_seq := a.last_seq + announced;
    PERFORM terasocket.note_announcement(a.announcement + 1, last_seq, CASE WHEN more THEN a.snapshot ELSE pg_current_snapshot() END, a.is_settled);
    IF announced > 0 AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('terasocket_log', '{"seq": ' || last_seq || CASE WHEN octet_length(pg_current_snapshot()::text) < 7000
            THEN ', "snapshot": "' || pg_current_snapshot() || '"}' ELSE '}' END);
    END IF;
END $$;

-- pick: the changes to announce, in the order of their ids, with at most so many objects. A row with more is picked in part. What the
-- last announcement saw is consumed, so only what its snapshot does not see is read.
CREATE OR REPLACE FUNCTION terasocket.pick(since pg_snapshot, at_most integer, OUT picked terasocket.changes[], OUT more boolean)
LANGUAGE plpgsql AS $$
BEGIN
    IF since IS NULL THEN
        picked := ARRAY(SELECT c FROM terasocket.changes c ORDER BY c.id LIMIT at_most + 1);
    ELSE
        picked := ARRAY(SELECT c FROM (
            SELECT n.* FROM terasocket.changes n WHERE n.xid >= pg_snapshot_xmax(since)
            UNION ALL
            SELECT n.* FROM terasocket.changes n
            WHERE  n.xid = ANY (ARRAY(SELECT pg_snapshot_xip(since))) AND n.xid < pg_snapshot_xmax(since)) c ORDER BY c.id LIMIT at_most + 1);
    END IF;
    more := picked <> '{}' AND (SELECT sum(coalesce(cardinality(c.ids), 1)) FROM unnest(picked) c) > at_most;
    IF more THEN
        picked := ARRAY(
            SELECT ROW(c.xid, c.id, c.at, c.what, c.op, c.rights, c.ids[1:at_most - c.before::integer], c.body)::terasocket.changes
            FROM  (SELECT r.*, sum(coalesce(cardinality(r.ids), 1)) OVER (ORDER BY r.id) - coalesce(cardinality(r.ids), 1) AS before FROM unnest(picked) r) c
            WHERE  c.before < at_most ORDER BY c.id);
    END IF;
    IF EXISTS (SELECT FROM terasocket.capture_errors e WHERE e.announced_at IS NULL) THEN
        -- what a trigger could not record properly: all of its rights and objects
        picked := picked || ARRAY(
            SELECT ROW('0'::xid8, -e.id, e.at, e.what, CASE e.op WHEN 'DELETE' THEN 'D' ELSE 'U' END, true, e.ids, NULL)::terasocket.changes
            FROM   terasocket.capture_errors e WHERE e.announced_at IS NULL);
    END IF;
END $$;

-- spread: replaces changes of a whole type, and of what a trigger could not record, by rows of 1,000 ids if they are more objects than
-- one announcement takes: otherwise such a change could exceed any time limit. False: there are none.
CREATE OR REPLACE FUNCTION terasocket.spread(picked terasocket.changes[], at_most integer) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    wide  terasocket.changes[] := ARRAY(
        SELECT ROW(c.xid, c.id, c.at, c.what, c.op, c.rights, coalesce(c.ids, terasocket.all_ids(c.what)), to_jsonb(c.ids IS NULL))::terasocket.changes
        FROM   unnest(picked) c WHERE c.xid = '0' OR c.ids IS NULL AND c.what NOT IN ('message', 'presence', 'kick'));
BEGIN
    IF (SELECT sum(cardinality(w.ids)) FROM unnest(wide) w) > at_most IS NOT TRUE THEN
        RETURN false;
    END IF;
    INSERT INTO terasocket.changes (at, what, op, rights, ids)
    SELECT w.at, w.what, w.op, w.rights, array_agg(i.id ORDER BY i.n)
    FROM   unnest(wide) w, unnest(w.ids) WITH ORDINALITY i (id, n)
    GROUP  BY w.id, w.at, w.what, w.op, w.rights, (i.n - 1) / 1000 ORDER BY w.id, min(i.n);
    -- users whose rights followed from deleted rows are not found by those rows' ids
    INSERT INTO terasocket.changes (what, op, rights, ids)
    SELECT 'user', 'l', true, array_agg(i.id ORDER BY i.n)
    FROM   unnest(terasocket.all_ids('user')) WITH ORDINALITY i (id, n)
    WHERE  EXISTS (SELECT FROM unnest(wide) w WHERE w.rights AND w.body = 'true' AND w.what IN ('user_group', 'role', 'project', 'site'))
    GROUP  BY (i.n - 1) / 1000;
    PERFORM terasocket.consume(wide, '{}', false);
    RETURN true;
END $$;

-- late_rights: the other rows of the snapshot that rights may follow from; not sessions, from which follows only who sees other objects.
CREATE OR REPLACE FUNCTION terasocket.late_rights(since pg_snapshot, picked terasocket.changes[]) RETURNS terasocket.changes[]
LANGUAGE plpgsql AS $$
BEGIN
    -- (all with lower ids were picked; the last one perhaps in part)
    RETURN ARRAY(SELECT c FROM terasocket.changes c
                 WHERE  c.rights AND c.what <> 'session' AND (since IS NULL OR NOT pg_visible_in_snapshot(c.xid, since))
                   AND  c.id >= (SELECT max(p.id) FROM unnest(picked) p));
END $$;

-- consume: deletes what was announced: the picked rows, or the announced ids of them; of late rows only the rights.
CREATE OR REPLACE FUNCTION terasocket.consume(picked terasocket.changes[], late terasocket.changes[], more boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF more THEN
        UPDATE terasocket.changes c SET rights = NULL FROM unnest(late) l WHERE c.xid = l.xid AND c.id = l.id AND c.rights;
        UPDATE terasocket.changes c SET ids = c.ids[cardinality(p.ids) + 1:] FROM unnest(picked) p
        WHERE  c.xid = p.xid AND c.id = p.id AND cardinality(c.ids) > cardinality(p.ids);
        DELETE FROM terasocket.changes c USING unnest(picked) p
        WHERE  c.xid = p.xid AND c.id = p.id AND (c.ids IS NULL OR (c.ids[1], cardinality(c.ids)) = (p.ids[1], cardinality(p.ids)));
    ELSE
        DELETE FROM terasocket.changes c USING unnest(picked) p WHERE c.xid = p.xid AND c.id = p.id;
    END IF;
    IF (picked[cardinality(picked)]).xid = '0' THEN   -- these come last
        UPDATE terasocket.capture_errors e SET announced_at = clock_timestamp() FROM unnest(picked) p
        WHERE  p.xid = '0' AND e.id = -p.id AND e.announced_at IS NULL;
    END IF;
END $$;

-- announced_rights: what principals gained and lost, and changed aliases, as rows for the gateways.
CREATE OR REPLACE FUNCTION terasocket.announced_rights(picked terasocket.changes[]) RETURNS terasocket.events[]
LANGUAGE plpgsql AS $$
DECLARE
    changed  record;
    users    integer[] := '{}';
    rows     terasocket.events[] := '{}';
    h        record;
    alias    text;
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(picked) c WHERE c.rights) THEN
        RETURN rows;
    END IF;
    SELECT coalesce(array_agg(DISTINCT i.id) FILTER (WHERE i.what = 'user'), '{}') AS users,
           coalesce(array_agg(DISTINCT i.id) FILTER (WHERE i.what = 'user_group'), '{}') AS groups,
           coalesce(array_agg(DISTINCT i.id) FILTER (WHERE i.what = 'role'), '{}') AS roles,
           coalesce(array_agg(DISTINCT i.id) FILTER (WHERE i.what = 'project'), '{}') AS projects,
           coalesce(array_agg(DISTINCT i.id) FILTER (WHERE i.what = 'site'), '{}') AS sites,
           coalesce(array_agg(DISTINCT i.id) FILTER (WHERE i.what = 'participant'), '{}') AS participants,
           coalesce(array_agg(DISTINCT i.id) FILTER (WHERE i.what = 'device'), '{}') AS devices,
           array_agg(DISTINCT i.what) AS types
    INTO   changed
    FROM  (SELECT c.what, unnest(coalesce(c.ids, terasocket.all_ids(c.what))) AS id FROM unnest(picked) c WHERE c.rights) i;
    IF EXISTS (SELECT FROM unnest(picked) c WHERE c.rights AND c.ids IS NULL AND c.what IN ('user', 'user_group', 'role', 'project', 'site')) THEN
        users := ARRAY(SELECT i.id FROM unnest(terasocket.all_ids('user')) i (id));
    ELSIF changed.types && '{user,user_group,role,project,site}' THEN
        users := terasocket.users_concerned(changed.users, changed.groups, changed.roles, changed.projects, changed.sites);
    END IF;
    FOR h IN SELECT 'user' AS kind, g.* FROM terasocket.hold('user', users) g WHERE users <> '{}'
             UNION ALL
             SELECT 'participant', g.* FROM terasocket.hold('participant', changed.participants::integer[]) g WHERE changed.participants <> '{}'
             UNION ALL
             SELECT 'device', g.* FROM terasocket.hold('device', changed.devices::integer[]) g WHERE changed.devices <> '{}' LOOP
        rows := rows || ROW(0, 0, clock_timestamp(), '', 'terasocket.Rights', NULL, h.kind, h.id,
                            jsonb_build_object('gained', h.gained, 'lost', h.lost), NULL, NULL, NULL, NULL)::terasocket.events;
    END LOOP;
    FOREACH alias IN ARRAY '{service,session_type,test_type}'::text[] LOOP
        IF alias = ANY (changed.types) THEN
            rows := rows || terasocket.announced_aliases(alias, ARRAY(
                SELECT DISTINCT unnest(coalesce(c.ids, terasocket.all_ids(c.what))) FROM unnest(picked) c WHERE c.rights AND c.what = alias));
        END IF;
    END LOOP;
    RETURN rows;
END $$;

-- announced_aliases: updates the aliases of these objects.
CREATE OR REPLACE FUNCTION terasocket.announced_aliases(object_type text, ids bigint[]) RETURNS terasocket.events[]
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    rows terasocket.events[];
BEGIN
    WITH now AS MATERIALIZED (
        SELECT DISTINCT ON (t.tag) t.tag, o.id, terasocket.keys(announced_aliases.object_type, o.r) AS keys
        FROM   terasocket.rows(announced_aliases.object_type, ids) o, unnest(terasocket.aliases_of(announced_aliases.object_type, o.r)) t (tag)
        WHERE  o.r ->> 'deleted_at' IS NULL AND t.tag IS NOT NULL
        ORDER  BY t.tag, o.id
    ), changed AS MATERIALIZED (
        SELECT coalesce(n.tag, w.tag) AS tag, n.id, n.keys, w.keys AS was
        FROM   now n
        FULL   JOIN (SELECT a.* FROM terasocket.aliases a WHERE a.object_type = announced_aliases.object_type AND a.id = ANY (ids)) w ON w.tag = n.tag
        WHERE  n.keys IS DISTINCT FROM w.keys OR n.id <> w.id   -- a UUID may pass to another service with the same keys
    ), dropped AS (
        DELETE FROM terasocket.aliases a USING changed c WHERE a.tag = c.tag AND c.keys IS NULL AND a.object_type = announced_aliases.object_type AND a.id = ANY (ids)
    ), kept AS (
        INSERT INTO terasocket.aliases (tag, object_type, id, keys)
        SELECT c.tag, announced_aliases.object_type, c.id, c.keys FROM changed c WHERE c.keys IS NOT NULL
        ON CONFLICT ON CONSTRAINT aliases_pkey DO UPDATE SET id = excluded.id, keys = excluded.keys
    )
    SELECT array_agg(ROW(0, 0, clock_timestamp(), '', 'terasocket.Alias', NULL, NULL, NULL,
               jsonb_build_object('tag', c.tag, 'keys', c.keys, 'was', c.was), NULL, NULL, NULL, NULL)::terasocket.events)
    INTO   rows FROM changed c WHERE c.keys IS DISTINCT FROM c.was;
    RETURN coalesce(rows, '{}');
END $$;

-- all_ids: the ids of a type, in told and in OpenTera's table.
CREATE OR REPLACE FUNCTION terasocket.all_ids(what text) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    ot   terasocket.object_types;
    ids  bigint[];
BEGIN
    IF what = 'role' THEN
        RETURN ARRAY(SELECT r.id_service_role::bigint FROM OPENTERA.t_services_roles r);
    END IF;
    SELECT * INTO ot FROM terasocket.object_types o WHERE o.object_type = what;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    EXECUTE format('SELECT array_agg(i.id) FROM (SELECT t.id FROM terasocket.told t WHERE t.object_type = %L UNION SELECT o.%I::bigint FROM OPENTERA.%I o) i',
                   what, ot.id_key, ot.table_name) INTO ids;
    RETURN coalesce(ids, '{}');
END $$;
