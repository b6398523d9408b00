-- Who is busy with a session, and until when. A service reports when somebody leaves (user_manager.sql), unless it dies; so the end of
-- the session frees them too.

-- leave_ended_sessions: removes people from sessions that are completed, cancelled, terminated or deleted, and announces that as if a
-- service had reported it; returns how many, at most 500. Waits for no service.
CREATE OR REPLACE FUNCTION terasocket.leave_ended_sessions() RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    who record;
    n   integer := 0;
BEGIN
    UPDATE terasocket.busy b SET is_known = true
    WHERE  (b.kind, b.principal) IN (SELECT l.kind, l.principal FROM terasocket.busy l JOIN OPENTERA.t_sessions s ON s.session_uuid = l.session_uuid
                                     WHERE NOT l.is_known FOR UPDATE OF l SKIP LOCKED);
    FOR who IN
        DELETE FROM terasocket.busy b
        WHERE  (b.kind, b.principal) IN (
                   SELECT l.kind, l.principal FROM terasocket.busy l
                   LEFT   JOIN OPENTERA.t_sessions s ON s.session_uuid = l.session_uuid
                   WHERE  s.session_status > 1 OR s.deleted_at IS NOT NULL OR s.id_session IS NULL AND l.is_known
                   ORDER  BY 1, 2 LIMIT 500 FOR UPDATE OF l SKIP LOCKED)
        RETURNING b.kind, b.principal LOOP
        PERFORM terasocket.presence_event(who.kind, who.principal, 'LEFT_SESSION');
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;

-- who_is_busy: uuid and name are empty for a physically deleted principal; status is OpenTera's session_status, null for an unknown
-- session.
CREATE OR REPLACE FUNCTION terasocket.who_is_busy() RETURNS TABLE (kind text, uuid text, name text, session_uuid text, status integer, since timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT b.kind, coalesce(u.user_uuid, p.participant_uuid, d.device_uuid, '')::text,
           coalesce(concat_ws(' ', u.user_firstname, u.user_lastname, p.participant_name, d.device_name), ''), b.session_uuid, s.session_status, b.since
    FROM   terasocket.busy b
    LEFT   JOIN OPENTERA.t_users u        ON b.kind = 'user' AND u.id_user = b.principal
    LEFT   JOIN OPENTERA.t_participants p ON b.kind = 'participant' AND p.id_participant = b.principal
    LEFT   JOIN OPENTERA.t_devices d      ON b.kind = 'device' AND d.id_device = b.principal
    LEFT   JOIN OPENTERA.t_sessions s     ON s.session_uuid = b.session_uuid AND s.deleted_at IS NULL
    ORDER  BY b.since, b.kind, b.principal;
END $$;

-- free: removes one of them from its session, or (kind: session) everybody from a session, and announces that; returns how many.
CREATE OR REPLACE FUNCTION terasocket.free(kind text, uuid text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    who record;
    n   integer := 0;
BEGIN
    FOR who IN
        DELETE FROM terasocket.busy b
        WHERE  (b.kind, b.principal) IN (
                   SELECT l.kind, l.principal FROM terasocket.busy l
                   WHERE  CASE free.kind
                          WHEN 'session'     THEN l.session_uuid = lower(free.uuid)
                          WHEN 'user'        THEN l.kind = 'user' AND l.principal = (SELECT u.id_user FROM OPENTERA.t_users u WHERE u.user_uuid = lower(free.uuid))
                          WHEN 'participant' THEN l.kind = 'participant' AND l.principal = (SELECT p.id_participant FROM OPENTERA.t_participants p WHERE p.participant_uuid = lower(free.uuid))
                          WHEN 'device'      THEN l.kind = 'device' AND l.principal = (SELECT d.id_device FROM OPENTERA.t_devices d WHERE d.device_uuid = lower(free.uuid))
                          END
                   ORDER  BY 1, 2 FOR UPDATE)
        RETURNING b.kind, b.principal LOOP
        PERFORM terasocket.presence_event(who.kind, who.principal, 'LEFT_SESSION');
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
