-- The bridge, reconciliation: compares what OpenTera's user manager knows with what we know.

-- bridge_reconcile: online, busy and statuses are the results of its RPCs: {"user": ["<uuid>", ...], ...}, {"user": {"<uuid>": "<session
-- uuid>", ...}, ...}, {"<device uuid>": {"status": {"status": "<text>", "timestamp": n}}, ...}. touched: UUIDs of people and sessions
-- with news since the request: they are left to the next time.
--
-- Online: we are right about our own sockets, the user manager about OpenTera's; sessions: it is right; statuses: the newer one is.
-- Result: the number of differences; those for whom it needs our status (give: [{"uuid", "status", "timestamp"}, ...]).
-- bridge_untold(everybody) then returns whom to report to it.
CREATE OR REPLACE FUNCTION terasocket.bridge_reconcile(term bigint, online jsonb, busy jsonb, statuses jsonb, touched text[],
    OUT people integer, OUT sessions integer, OUT devices integer, OUT give jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    k text;
BEGIN
    PERFORM terasocket.bridge_hold(term);
    people := 0;
    sessions := 0;
    FOREACH k IN ARRAY '{device,participant,user}'::text[] LOOP   -- in the order of locks
        people := people + terasocket.bridge_reconcile_online(k, ARRAY(SELECT jsonb_array_elements_text(online -> k)), touched);
        IF k = 'device' THEN
            SELECT s.devices, s.give INTO devices, give FROM terasocket.bridge_reconcile_statuses(statuses, touched) s;
        END IF;
    END LOOP;
    FOREACH k IN ARRAY '{device,participant,user}'::text[] LOOP
        sessions := sessions + terasocket.bridge_reconcile_busy(k, busy -> k, touched);
    END LOOP;
END $$;

-- bridge_reconcile_online: principals of one kind. Only here is it forgotten that somebody was reported: when the user manager no longer
-- has them, or has them from OpenTera's own server. If it still has somebody reported to leave, it has not heard that.
CREATE OR REPLACE FUNCTION terasocket.bridge_reconcile_online(kind text, uuids text[], touched text[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    theirs   integer[] := ARRAY(SELECT p.principal FROM terasocket.principals_of(kind, uuids, true) p);
    living   integer[] := ARRAY(SELECT p.principal FROM terasocket.principals_of(kind, uuids, false) p);
    waiting  integer[] := ARRAY(SELECT p.principal FROM terasocket.principals_of(kind, touched, true) p);
    who      record;
    n        integer;
    total    integer;
BEGIN
    -- it no longer knows what it was told
    DELETE FROM terasocket.bridge_told t
    WHERE  t.kind = bridge_reconcile_online.kind AND t.principal IN (
        SELECT o.principal FROM terasocket.bridge_told o WHERE o.kind = bridge_reconcile_online.kind
        EXCEPT (SELECT unnest(theirs) UNION SELECT unnest(waiting)));
    GET DIAGNOSTICS total = ROW_COUNT;
    DELETE FROM terasocket.bridge_told t
    WHERE  t.kind = bridge_reconcile_online.kind AND NOT terasocket.is_here(t.kind, t.principal) AND t.principal IN (
        SELECT unnest(theirs) INTERSECT SELECT c.principal FROM terasocket.connections c
        WHERE  c.kind = bridge_reconcile_online.kind AND c.gateway = terasocket.opentera_gateway()
        EXCEPT SELECT unnest(waiting));
    -- it has heard that they came, or has not heard that they left
    INSERT INTO terasocket.bridge_told AS t (kind, principal)
    SELECT bridge_reconcile_online.kind, h.principal
    FROM  (SELECT unnest(theirs)
           INTERSECT (SELECT b.principal FROM terasocket.bridge_told b WHERE b.kind = bridge_reconcile_online.kind
                      UNION SELECT c.principal FROM terasocket.connections c
                      WHERE c.kind = bridge_reconcile_online.kind AND c.gateway <> terasocket.opentera_gateway())
           EXCEPT SELECT unnest(waiting)) h (principal)
    ON     CONFLICT ON CONSTRAINT bridge_told_pkey DO UPDATE SET gone = false WHERE t.gone;
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
    -- a principal that is online there, and not reported by us, has a socket on OpenTera's own server
    FOR who IN
        SELECT t.principal, true AS comes
        FROM  (SELECT unnest(living)
               EXCEPT (SELECT b.principal FROM terasocket.bridge_told b WHERE b.kind = bridge_reconcile_online.kind
                       UNION ALL SELECT c.principal FROM terasocket.connections c WHERE c.kind = bridge_reconcile_online.kind
                       UNION ALL SELECT unnest(waiting))) t (principal)
        UNION ALL
        SELECT e.principal, false
        FROM  (SELECT c.principal FROM terasocket.connections c
               WHERE  c.kind = bridge_reconcile_online.kind AND c.gateway = terasocket.opentera_gateway()
               EXCEPT (SELECT unnest(living) UNION ALL SELECT unnest(waiting))) e
        ORDER  BY 1 LOOP
        PERFORM terasocket.bridge_elsewhere(kind, who.principal, who.comes);
        total := total + 1;
    END LOOP;
    RETURN total;
END $$;

-- bridge_reconcile_busy: the sessions that people of one kind are in. Leaving is announced, joining is not. Nobody is taken to be in a
-- session that has ended in OpenTera's table, whatever a service has failed to report (busy.sql). People whom an open transaction is
-- moving are left to the next time.
CREATE OR REPLACE FUNCTION terasocket.bridge_reconcile_busy(kind text, theirs jsonb, touched text[]) RETURNS integer
LANGUAGE plpgsql SET lock_timeout = '50ms' AS $$
DECLARE
    waiting  integer[] := ARRAY(SELECT p.principal FROM terasocket.principals_of(kind, touched, true) p);
    who      record;
    has_left boolean;
    total    integer := 0;
BEGIN
    FOR who IN
        SELECT principal, o.session_uuid AS ours, t.session_uuid AS theirs
        FROM  (SELECT b.principal, b.session_uuid FROM terasocket.busy b WHERE b.kind = bridge_reconcile_busy.kind) o
        FULL  JOIN (SELECT p.principal, lower(j.value) AS session_uuid
                    FROM   jsonb_each_text(bridge_reconcile_busy.theirs) j
                    JOIN   terasocket.principals_of(bridge_reconcile_busy.kind, ARRAY(SELECT jsonb_object_keys(bridge_reconcile_busy.theirs)), true) p
                    ON     p.uuid = lower(j.key)) t USING (principal)
        WHERE  o.session_uuid IS DISTINCT FROM t.session_uuid AND principal <> ALL (waiting)
        AND   (o.session_uuid IS NULL OR o.session_uuid <> ALL (touched))
        ORDER  BY principal LOOP
        BEGIN
            DELETE FROM terasocket.busy b
            WHERE  b.kind = bridge_reconcile_busy.kind AND b.principal = who.principal AND b.session_uuid = who.ours;
            has_left := FOUND;
            INSERT INTO terasocket.busy (kind, principal, session_uuid)
            SELECT bridge_reconcile_busy.kind, who.principal, who.theirs
            WHERE  terasocket.is_uuid(who.theirs) AND who.theirs <> ALL (touched) AND terasocket.is_alive(bridge_reconcile_busy.kind, who.principal)
            AND    NOT EXISTS (SELECT FROM OPENTERA.t_sessions s WHERE s.session_uuid = who.theirs AND (s.session_status > 1 OR s.deleted_at IS NOT NULL))
            ON     CONFLICT ON CONSTRAINT busy_pkey DO NOTHING;
            total := total + has_left::integer + FOUND::integer;
            IF has_left THEN
                PERFORM terasocket.presence_event(kind, who.principal, 'LEFT_SESSION');
            END IF;
        EXCEPTION
            WHEN lock_not_available THEN
                NULL;
        END;
    END LOOP;
    RETURN total;
END $$;

-- bridge_reconcile_statuses: the statuses of devices. A newer status there was missed here.
CREATE OR REPLACE FUNCTION terasocket.bridge_reconcile_statuses(statuses jsonb, touched text[], OUT devices integer, OUT give jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    d record;
BEGIN
    devices := 0;
    give := '[]';
    FOR d IN
        SELECT o.principal, v.device_uuid AS uuid, o.status, o.status_at, t.status AS theirs, t.timestamp AS theirs_at
        FROM   terasocket.online o
        JOIN   OPENTERA.t_devices v ON v.id_device = o.principal AND v.deleted_at IS NULL
        LEFT   JOIN (SELECT lower(j.key) AS uuid, j.value #>> '{status,status}' AS status, (j.value #>> '{status,timestamp}')::numeric AS timestamp
                     FROM jsonb_each(statuses) j WHERE jsonb_typeof(j.value #> '{status,timestamp}') = 'number') t ON t.uuid = v.device_uuid
        WHERE  o.kind = 'device' AND v.device_uuid <> ALL (touched) AND o.status_at IS DISTINCT FROM t.timestamp
        ORDER  BY o.principal LOOP
        devices := devices + 1;
        IF d.theirs IS NULL OR d.theirs_at < d.status_at THEN
            give := give || jsonb_build_object('uuid', d.uuid, 'status', d.status, 'timestamp', d.status_at);
        ELSE
            PERFORM terasocket.device_status(d.principal, d.theirs, d.theirs_at);
        END IF;
    END LOOP;
END $$;
