-- The bridge: which gateway holds it, and what happens to the messages that it reads from OpenTera's Redis. What it reports to OpenTera
-- is in bridge_presence.sql. Locks are taken in this order: the row of the bridge, then those of presence (the head of
-- 0003_presence.up.sql), then rows of busy by (kind, principal).

-- bridge_lead: takes the bridge (term 0), or renews it in the caller's term. If the caller holds it now, one row: its term, how far
-- messages are written, and whether the caller was the last to hold it; no row while another gateway's lease is valid, or after another
-- has taken it. If nobody has held it for a minute, those reported to leave may be on OpenTera's own server by now.
CREATE OR REPLACE FUNCTION terasocket.bridge_lead(holder text, term bigint, lease interval)
RETURNS TABLE (now_term bigint, mark bytea, part integer, is_again boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    was terasocket.bridge;
BEGIN
    SELECT * INTO was FROM terasocket.bridge b
    WHERE  CASE WHEN bridge_lead.term > 0 THEN b.term = bridge_lead.term AND b.holder = bridge_lead.holder
                ELSE b.lease_until < clock_timestamp() END
    FOR    UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE terasocket.bridge b
    SET    term = CASE WHEN bridge_lead.term > 0 THEN b.term ELSE b.term + 1 END,
           taken = CASE WHEN bridge_lead.term > 0 THEN b.taken ELSE 0 END,
           holder = bridge_lead.holder, lease_until = clock_timestamp() + lease
    RETURNING b.term, b.mark, b.part, was.holder IS NOT DISTINCT FROM bridge_lead.holder;
    IF bridge_lead.term > 0 THEN
        UPDATE terasocket.gateways g SET lease_until = clock_timestamp() + interval '30 seconds'
        WHERE  g.id = terasocket.opentera_gateway() AND g.lease_until > '-infinity';
    ELSIF was.lease_until < clock_timestamp() - interval '1 minute' THEN
        DELETE FROM terasocket.bridge_told t WHERE t.gone;
    END IF;
END $$;

-- bridge_leave: gives the bridge back. Changes of sockets are noted for a minute more, for the next holder.
CREATE OR REPLACE FUNCTION terasocket.bridge_leave(term bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE terasocket.bridge b SET lease_until = clock_timestamp() WHERE b.term = bridge_leave.term
$$;

-- bridge_hold: fails unless this is the current term (SQLSTATE TB001). Nobody takes the bridge before the caller's transaction ends.
CREATE OR REPLACE FUNCTION terasocket.bridge_hold(term bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM terasocket.bridge b WHERE b.term = bridge_hold.term FOR SHARE;
    IF NOT FOUND THEN
        RAISE SQLSTATE 'TB001' USING MESSAGE = 'another gateway has taken the bridge';
    END IF;
END $$;

-- bridge_take: writes items from Redis, in order, in one transaction. nth: how many items this term has written before; a call repeated
-- because its answer was lost, with as many items or fewer, writes nothing twice: it returns how many of them were written, with SQLSTATE
-- 00000; an impossible number if PostgreSQL has lost commits. mark: of the last message; part: how many items of it are written then, 0:
-- all. A refused item does not affect the others: the result has its number, from 1, the SQLSTATE and the reason. SQLSTATE TB001: another
-- gateway has taken the bridge, nothing was written.
-- Each item has a type (what), a place and a value (item):
--   publish           place: a topic; item: the event as publish() takes it
--   status            place: the UUID of a device; item: {"status": "<JSON text>", "timestamp": n}
--   online, offline   place: user, participant or device; item: the UUID of one with a socket on OpenTera's own server
CREATE OR REPLACE FUNCTION terasocket.bridge_take(term bigint, nth bigint, mark bytea, part integer, what text[], place text[], item text[])
RETURNS TABLE (n integer, state text, problem text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    of_message text;
BEGIN
    UPDATE terasocket.bridge b SET mark = bridge_take.mark, part = bridge_take.part, taken = nth + cardinality(what)
    WHERE  b.term = bridge_take.term AND b.taken = nth;
    IF NOT FOUND THEN
        PERFORM terasocket.bridge_hold(bridge_take.term);
        RETURN QUERY SELECT (b.taken - nth)::integer, '00000'::text, NULL::text FROM terasocket.bridge b;
        RETURN;
    END IF;
    BEGIN   -- usually
        IF 'publish' = ALL (what) THEN
            RETURN QUERY SELECT * FROM terasocket.publish_all(place, item::jsonb[]);
            RETURN;
        END IF;
    EXCEPTION
        WHEN transaction_rollback OR lock_not_available OR insufficient_resources OR operator_intervention OR system_error THEN
            RAISE;
        WHEN OTHERS THEN
            NULL;
    END;
    FOR i IN 1 .. cardinality(what) LOOP
        BEGIN
            IF what[i] = 'publish' THEN
                RETURN QUERY SELECT i, p.state, p.problem FROM terasocket.publish_all(place[i:i], ARRAY[item[i]::jsonb]) p;
            ELSE
                PERFORM terasocket.bridge_one(what[i], place[i], item[i]);
            END IF;
        EXCEPTION
            WHEN transaction_rollback OR lock_not_available OR insufficient_resources OR operator_intervention OR system_error THEN
                RAISE;
            WHEN OTHERS THEN
                n := i;
                state := SQLSTATE;
                problem := SQLERRM;
                RETURN NEXT;
        END;
    END LOOP;
END $$;

-- bridge_one: writes an item other than publish.
CREATE OR REPLACE FUNCTION terasocket.bridge_one(what text, place text, item text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    about integer;
BEGIN
    IF what = 'status' THEN
        PERFORM terasocket.bridge_status(place, item::jsonb);
        RETURN;
    END IF;
    SELECT p.principal INTO about FROM terasocket.principals_of(place, ARRAY[item], what = 'offline') p;
    IF NOT FOUND THEN
        PERFORM terasocket.refuse('event', format('is of a %s that does not exist', place));
    END IF;
    PERFORM terasocket.bridge_elsewhere(place, about, what = 'online');
END $$;

-- bridge_status: the status of a device, as OpenTera's user manager publishes it. A status that we already hold is ignored: we reported
-- it there.
CREATE OR REPLACE FUNCTION terasocket.bridge_status(uuid text, item jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    about  integer := (SELECT p.principal FROM terasocket.principals_of('device', ARRAY[uuid], false) p);
    said   text    := item ->> 'status';
    at     numeric := (item ->> 'timestamp')::numeric;
BEGIN
    IF said IS NULL OR at IS NULL THEN
        PERFORM terasocket.refuse('event', 'has no status, or no timestamp, in its deviceStatus');
    ELSIF EXISTS (SELECT FROM terasocket.online o WHERE o.kind = 'device' AND o.principal = about AND o.status = said AND o.status_at = at) THEN
        RETURN;
    ELSIF about IS NULL OR NOT terasocket.device_status(about, said, at) THEN
        PERFORM terasocket.refuse('event', 'is of a device that is not online');
    END IF;
END $$;

-- principals_of: the ids of those with these UUIDs; with_dead: including soft-deleted ones.
CREATE OR REPLACE FUNCTION terasocket.principals_of(kind text, uuids text[], with_dead boolean) RETURNS TABLE (principal integer, uuid text)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    uuids := ARRAY(SELECT lower(u) FROM unnest(uuids) u);
    CASE kind
    WHEN 'user' THEN
        RETURN QUERY SELECT u.id_user, u.user_uuid::text FROM OPENTERA.t_users u
                     WHERE  u.user_uuid = ANY (uuids) AND (with_dead OR u.deleted_at IS NULL);
    WHEN 'participant' THEN
        RETURN QUERY SELECT p.id_participant, p.participant_uuid::text FROM OPENTERA.t_participants p
                     WHERE  p.participant_uuid = ANY (uuids) AND (with_dead OR p.deleted_at IS NULL);
    WHEN 'device' THEN
        RETURN QUERY SELECT d.id_device, d.device_uuid::text FROM OPENTERA.t_devices d
                     WHERE  d.device_uuid = ANY (uuids) AND (with_dead OR d.deleted_at IS NULL);
    END CASE;
END $$;
