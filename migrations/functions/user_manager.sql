-- The user manager: what services report about sessions, and devices about themselves (OpenTera's sheet websocket, section 7).

-- manage: handles a service's message to the user manager. Moves people in and out of sessions, and announces it for each UUID that the
-- message lists, every time, users before participants before devices; unknown UUIDs are skipped.
CREATE OR REPLACE FUNCTION terasocket.manage(message_type text, message jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    session    text := lower(message ->> 'sessionUuid');
    is_join    boolean := message_type = 'opentera.protobuf.JoinSessionEvent';
    named      jsonb;   -- lists of UUIDs: users, participants, devices
    kinds      text[];  -- the people, in the order of the announcements
    ids        integer[];
BEGIN
    CASE message_type
    WHEN 'opentera.protobuf.JoinSessionEvent' THEN
        named := jsonb_build_array(message -> 'sessionUsers', message -> 'sessionParticipants', message -> 'sessionDevices');
    WHEN 'opentera.protobuf.LeaveSessionEvent' THEN
        named := jsonb_build_array(message -> 'leavingUsers', message -> 'leavingParticipants', message -> 'leavingDevices');
    WHEN 'opentera.protobuf.JoinSessionReplyEvent' THEN
        IF message ->> 'joinReply' = 'REPLY_ACCEPTED' THEN
            RETURN;
        END IF;
        named := jsonb_build_array(jsonb_build_array(message -> 'userUuid'), jsonb_build_array(message -> 'participantUuid'),
                                   jsonb_build_array(message -> 'deviceUuid'));
    WHEN 'opentera.protobuf.StopSessionEvent' THEN
        NULL;
    ELSE
        PERFORM terasocket.refuse('event', format('is a %s, which the user manager does not take', message_type));
    END CASE;
    IF named IS NULL THEN
        WITH freed AS (
            DELETE FROM terasocket.busy b
            WHERE  (b.kind, b.principal) IN (SELECT l.kind, l.principal FROM terasocket.busy l WHERE l.session_uuid = session
                                             ORDER BY 1, 2 FOR UPDATE)
              AND  b.session_uuid = session
            RETURNING b.kind, b.principal)
        SELECT array_agg(f.kind ORDER BY f.kind = 'device', f.kind = 'participant', f.principal),
               array_agg(f.principal ORDER BY f.kind = 'device', f.kind = 'participant', f.principal)
        INTO   kinds, ids FROM freed f;
    ELSE
        WITH listed AS (
            SELECT k.ord AS kind, u.ord, lower(u.uuid) AS uuid
            FROM   jsonb_array_elements(named) WITH ORDINALITY k (list, ord),
                   jsonb_array_elements_text(CASE jsonb_typeof(k.list) WHEN 'array' THEN k.list ELSE '[]' END) WITH ORDINALITY u (uuid, ord)
        ), found AS (
            SELECT l.kind AS place, l.ord, 'user' AS kind, u.id_user AS id
            FROM   listed l JOIN OPENTERA.t_users u ON u.user_uuid = l.uuid AND u.deleted_at IS NULL WHERE l.kind = 1
            UNION  ALL
            SELECT l.kind, l.ord, 'participant', p.id_participant
            FROM   listed l JOIN OPENTERA.t_participants p ON p.participant_uuid = l.uuid AND p.deleted_at IS NULL WHERE l.kind = 2
            UNION  ALL
            SELECT l.kind, l.ord, 'device', d.id_device
            FROM   listed l JOIN OPENTERA.t_devices d ON d.device_uuid = l.uuid AND d.deleted_at IS NULL WHERE l.kind = 3
        )
        SELECT array_agg(f.kind ORDER BY f.place, f.ord), array_agg(f.id ORDER BY f.place, f.ord) INTO kinds, ids FROM found f;
        IF is_join THEN
            -- whoever is busy already stays in that session
            INSERT INTO terasocket.busy (kind, principal, session_uuid, is_known)
            SELECT DISTINCT w.kind, w.id, session, EXISTS (SELECT FROM OPENTERA.t_sessions s WHERE s.session_uuid = session) FROM unnest(kinds, ids) w (kind, id) ORDER BY 1, 2
            ON     CONFLICT ON CONSTRAINT busy_pkey DO NOTHING;
        ELSE
            DELETE FROM terasocket.busy b
            WHERE  (b.kind, b.principal) IN (SELECT l.kind, l.principal FROM terasocket.busy l
                                             WHERE  (l.kind, l.principal) IN (SELECT * FROM unnest(kinds, ids)) AND l.session_uuid = session
                                             ORDER  BY 1, 2 FOR UPDATE)
              AND  b.session_uuid = session;
        END IF;
    END IF;
    FOR i IN 1 .. coalesce(cardinality(ids), 0) LOOP
        PERFORM terasocket.presence_event(kinds[i], ids[i], CASE WHEN is_join THEN 'JOINED_SESSION' ELSE 'LEFT_SESSION' END);
    END LOOP;
END $$;

-- device_status: stores the status of an online device and announces it; false if it is offline.
CREATE OR REPLACE FUNCTION terasocket.device_status(id_device integer, status text, status_at numeric) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE terasocket.online o SET status = device_status.status, status_at = device_status.status_at
    WHERE  o.kind = 'device' AND o.principal = device_status.id_device;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM terasocket.presence_event('device', device_status.id_device, 'STATUS_CHANGED',
        terasocket.status_text(device_status.status, device_status.status_at));
    RETURN true;
END $$;
