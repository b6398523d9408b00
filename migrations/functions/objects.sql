-- What an announcement reports about objects: the state of each in the announcer's snapshot, compared with told.

-- announced_objects: the rows of the log for the objects that changed, and told updated for them and for their dependents. In the order
-- of object_types.place, so that each type is processed once.
--   as_of: the seq as of whose rights, if only a part of a snapshot is announced; then dependents are announced too: their own change may
--   be in the rest, and former viewers must not be forgotten
CREATE OR REPLACE FUNCTION terasocket.announced_objects(picked terasocket.changes[], types text[], careful boolean, as_of bigint) RETURNS terasocket.events[]
LANGUAGE plpgsql AS $$
DECLARE
    own      jsonb := '{}';   -- type -> ids of dependents
    rows     terasocket.events[] := '{}';
    ot       terasocket.object_types;
    touched  terasocket.touch[];
    state    record;
    has_aside boolean := EXISTS (SELECT FROM terasocket.set_aside);
BEGIN
    IF 'role' = ANY (types) THEN
        own := terasocket.followers(own, 'role', ARRAY(
            SELECT unnest(coalesce(c.ids, terasocket.all_ids('role'))) FROM unnest(picked) c WHERE c.what = 'role'));
    END IF;
    FOR ot IN SELECT * FROM terasocket.object_types o ORDER BY o.place LOOP
        CONTINUE WHEN ot.object_type <> ALL (types) AND NOT own ? ot.object_type;
        touched := ARRAY(
            SELECT ROW(t.id, coalesce(min(t.at), clock_timestamp()), min(t.first), max(t.last), coalesce(string_agg(t.op, ''), ''),
                       bool_or(t.op <> 'l') OR as_of IS NOT NULL
                           OR has_aside AND EXISTS (SELECT FROM terasocket.set_aside s WHERE s.object_type = ot.object_type AND s.id = t.id), coalesce(bool_or(t.rights), false), as_of)::terasocket.touch
            FROM  (SELECT i.id, c.at, c.id AS first, c.id AS last, c.op, c.rights IS DISTINCT FROM false AS rights
                   FROM   unnest(picked) c, unnest(CASE WHEN c.ids IS NULL THEN terasocket.all_ids(c.what) ELSE c.ids END) i (id) WHERE c.what = ot.object_type
                   UNION ALL
                   SELECT f.id::bigint, NULL, NULL, NULL, 'l', false FROM jsonb_array_elements_text(own -> ot.object_type) f (id)) t
            GROUP  BY t.id);
        IF has_aside THEN   -- each gets another chance, and its own change is announced now
            DELETE FROM terasocket.set_aside s USING unnest(touched) t WHERE s.object_type = ot.object_type AND s.id = t.id;
        END IF;
        IF careful THEN
            state := terasocket.announced_carefully(ot, touched);
        ELSE
            state := terasocket.announced_of_type(ot, touched);
        END IF;
        rows := rows || state.rows;
        CASE ot.object_type
        WHEN 'project', 'user_group' THEN
            own := terasocket.followers(own, ot.object_type, ARRAY(SELECT t.id FROM unnest(touched) t WHERE t.rights OR t.ops LIKE '%l%'));
        WHEN 'test_type' THEN   -- its row affects tests; a link to a site only its alias, and there may be a million tests
            own := terasocket.followers(own, 'test_type', ARRAY(SELECT t.id FROM unnest(touched) t WHERE t.rights AND t.ops ~ '[^Ll]'));
        WHEN 'session' THEN
            own := terasocket.followers(own, 'session', state.moved);
            own := terasocket.followers(own, 'session list', ARRAY(
                SELECT t.id FROM unnest(touched) t WHERE t.rights OR t.ops ~* 'l' EXCEPT SELECT unnest(state.moved)));
        WHEN 'user', 'participant', 'device' THEN
            own := terasocket.followers(own, ot.object_type, state.moved);
        ELSE
            NULL;
        END CASE;
    END LOOP;
    RETURN rows;
END $$;

-- followers: own plus the dependents of these objects.
CREATE OR REPLACE FUNCTION terasocket.followers(own jsonb, object_type text, ids bigint[]) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF ids = '{}' THEN
        RETURN own;
    END IF;
    RETURN own || coalesce((SELECT jsonb_object_agg(f.type, coalesce(own -> f.type, '[]') || f.ids)
                            FROM (SELECT d.type, jsonb_agg(d.id) AS ids FROM terasocket.dependents(followers.object_type, followers.ids) d GROUP BY d.type) f), '{}');
END $$;

-- announced_of_type: the same for objects of one type. moved: those whose keys have changed.
CREATE OR REPLACE FUNCTION terasocket.announced_of_type(ot terasocket.object_types, touched terasocket.touch[], OUT rows terasocket.events[], OUT moved bigint[])
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    ids bigint[] := ARRAY(SELECT t.id FROM unnest(touched) t);
BEGIN
    WITH state AS MATERIALIZED (
        SELECT t.*, o.r, o.r IS NOT NULL AND o.r ->> 'deleted_at' IS NULL AS lives,
               CASE WHEN o.r IS NOT NULL THEN terasocket.keys(ot.object_type, o.r) END AS keys,
               CASE WHEN o.r IS NOT NULL THEN terasocket.deleted_body(ot, o.r) END AS gone,
               w.keys AS was, w.gone AS was_gone, w.as_of AS was_as_of
        FROM   unnest(touched) t
        LEFT   JOIN terasocket.rows(ot.object_type, ids) o ON o.id = t.id
        LEFT   JOIN terasocket.told w ON w.object_type = ot.object_type AND w.id = t.id
    ), living AS (
        INSERT INTO terasocket.told (object_type, id, keys, gone, as_of)
        SELECT ot.object_type, s.id, s.keys, s.gone, CASE WHEN s.is_announced THEN s.as_of END FROM state s
        WHERE  s.lives AND (s.was IS NULL OR s.was <> s.keys OR s.was_gone <> s.gone OR s.as_of IS NOT NULL AND s.is_announced)
        ON CONFLICT ON CONSTRAINT told_pkey DO UPDATE SET keys = excluded.keys, gone = excluded.gone, as_of = coalesce(excluded.as_of, told.as_of)
    ), dead AS (
        DELETE FROM terasocket.told t USING state s
        WHERE  t.object_type = ot.object_type AND t.id = s.id AND NOT s.lives AND s.was IS NOT NULL
    ), alive AS (
        -- (id_service is in the DB_DELETE of a session type, but is not part of its identity)
        SELECT s.*, coalesce(s.was_gone - 'id_service' <> s.gone - 'id_service', false) AS is_other FROM state s WHERE s.lives
    ), said AS (
        -- (seq is the position in the announcement: creates and updates at the first change, deletes at the last)
        SELECT s.id, s.at, s.first AS place, CASE WHEN s.was IS NULL AND s.ops LIKE '%C%' OR s.is_other THEN 'C' ELSE 'U' END AS op,
               terasocket.visible_body(ot, s.r, s.was IS NULL AND s.ops LIKE '%C%') AS body,
               CASE WHEN s.is_other THEN s.gone ELSE coalesce(s.was_gone, s.gone) END AS gone, s.keys AS present, CASE WHEN NOT s.is_other THEN s.was END AS former,
               CASE WHEN NOT s.is_other THEN s.was_as_of END AS former_as_of
        FROM   alive s WHERE s.is_announced
        UNION  ALL
        -- the same id, but another object to its clients: the old one is deleted first
        SELECT s.id, s.at, s.first, 'D', NULL, s.was_gone, NULL, s.was, s.was_as_of
        FROM   alive s WHERE s.is_other
        UNION  ALL
        -- a pure soft delete (perhaps with its links) shows the object once more; if it also moved or changed, or may have (the rest of a
        -- snapshot is not looked at), it does not. Data of other objects in its body may be new: only those who keep their rights may see it
        SELECT s.id, s.at, s.last, CASE WHEN s.body IS NULL THEN 'D' ELSE 'G' END, s.body,
               s.was_gone, CASE WHEN s.body - ot.keys - 'deleted_at' <> '{}' THEN s.was END, s.was, s.was_as_of
        FROM  (SELECT s.*, CASE WHEN s.r IS NOT NULL AND s.as_of IS NULL AND s.ops ~ '^[SLRl]*S[SLRl]*$' AND s.was @> s.keys THEN terasocket.visible_body(ot, s.r, false) END AS body
               FROM state s WHERE NOT s.lives AND s.was IS NOT NULL) s
    )
    SELECT coalesce((SELECT array_agg(ROW(coalesce(e.place, 0), 1, e.at, 'module.TeraServer.DatabaseModule.events.' || ot.object_type,
                                          'opentera.protobuf.DatabaseEvent', e.op, ot.object_type, e.id, e.body, e.gone, e.present, e.former, e.former_as_of)::terasocket.events)
                     FROM said e), '{}'),
           coalesce((SELECT array_agg(s.id) FROM state s WHERE s.was IS DISTINCT FROM CASE WHEN s.lives THEN s.keys END), '{}')
    INTO   rows, moved;
END $$;

-- announced_carefully: one object at a time. One that fails is set aside: its row in told stays until its next change.
CREATE OR REPLACE FUNCTION terasocket.announced_carefully(ot terasocket.object_types, touched terasocket.touch[], OUT rows terasocket.events[], OUT moved bigint[])
LANGUAGE plpgsql AS $$
DECLARE
    t    terasocket.touch;
    one  record;
BEGIN
    rows := '{}';
    moved := '{}';
    FOREACH t IN ARRAY touched LOOP
        BEGIN
            one := terasocket.announced_of_type(ot, ARRAY[t]);
            rows := rows || one.rows;
            moved := moved || one.moved;
        EXCEPTION
            WHEN transaction_rollback OR lock_not_available OR insufficient_resources OR operator_intervention OR system_error THEN
                RAISE;
            WHEN OTHERS THEN
                PERFORM terasocket.put_aside(ot.object_type, t.id, SQLSTATE, SQLERRM);
        END;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION terasocket.put_aside(object_type text, id bigint, sqlstate text, message text) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO terasocket.set_aside (object_type, id, sqlstate, message) VALUES (object_type, id, sqlstate, message)
    ON CONFLICT ON CONSTRAINT set_aside_pkey DO UPDATE SET at = clock_timestamp(), sqlstate = excluded.sqlstate, message = excluded.message
$$;

-- set_aside_next: called when announce(1, true) exceeds its time limit: sets the next object aside without reading it. Tags that cannot
-- be computed are removed, so that nobody sees by them. Aliases, and the users whose tags follow from a group, role, project or site, are
-- not lost with it; the rest of its row keeps its rights. Fails while the memory is being filled, since then no change is what takes
-- long.
CREATE OR REPLACE FUNCTION terasocket.set_aside_next() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a       terasocket.announcer;
    picked  terasocket.changes[];
    c       terasocket.changes;
BEGIN
    SELECT * INTO a FROM terasocket.announcer;
    IF a.fill_type IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'the memory of announcements is not filled: there is no change to set aside';
    END IF;
    SELECT p.picked INTO picked FROM terasocket.pick(a.snapshot, 1) p;
    picked := picked[1:1];   -- what a trigger could not record follows it, and was not read
    FOREACH c IN ARRAY picked LOOP
        PERFORM terasocket.put_aside(c.what, i.id, '57014', 'it took too long')
        FROM    unnest(coalesce(c.ids, nullif(terasocket.all_ids(c.what), '{}'), ARRAY[c.id])) i (id);
        IF c.rights AND c.what IN ('user', 'participant', 'device') THEN
            WITH lost AS (DELETE FROM terasocket.holdings h WHERE h.kind = c.what AND (c.ids IS NULL OR h.id = ANY (c.ids)) RETURNING h.*)
            INSERT INTO terasocket.events (seq, announcement, at, topic, type, object_type, object_id, body)
            SELECT a.last_seq + row_number() OVER (), a.announcement + 1, clock_timestamp(), '', 'terasocket.Rights', l.kind, l.id,
                   jsonb_build_object('gained', '[]'::jsonb, 'lost', jsonb_agg(l.tag))
            FROM   lost l GROUP BY l.kind, l.id;
        ELSIF c.rights AND c.what IN ('service', 'session_type', 'test_type') THEN
            INSERT INTO terasocket.events (seq, announcement, at, topic, type, body)
            SELECT a.last_seq + row_number() OVER (), a.announcement + 1, r.at, r.topic, r.type, r.body
            FROM   unnest(terasocket.announced_aliases(c.what, coalesce(c.ids, terasocket.all_ids(c.what)))) r;
        ELSIF c.rights THEN   -- principals whose tags may follow from it, one by one
            PERFORM terasocket.record('user', 'l', true, CASE WHEN c.ids IS NOT NULL THEN terasocket.users_concerned('{}',
                CASE c.what WHEN 'user_group' THEN c.ids ELSE '{}' END, CASE c.what WHEN 'role' THEN c.ids ELSE '{}' END,
                CASE c.what WHEN 'project' THEN c.ids ELSE '{}' END, CASE c.what WHEN 'site' THEN c.ids ELSE '{}' END)::bigint[] END);
        END IF;
    END LOOP;
    PERFORM terasocket.consume(picked, '{}', true);
    PERFORM terasocket.note_announcement(a.announcement + 1, greatest(a.last_seq, (SELECT max(e.seq) FROM terasocket.events e)), a.snapshot, false);
END $$;
