-- Delivery: replay by present rights, and writers that must not NOTIFY.

-- A transaction that has notified cannot be prepared (PREPARE TRANSACTION). Who needs that says SET terasocket.notify = off:
-- the gateways find its events by their own look at the log, within seconds.
DROP TRIGGER notify ON terasocket.events;
CREATE TRIGGER notify AFTER INSERT ON terasocket.events
    REFERENCING NEW TABLE AS new_events
    FOR EACH STATEMENT WHEN (current_setting('terasocket.notify', true) IS DISTINCT FROM 'off')
    EXECUTE FUNCTION terasocket.notify_events();

-- present_keys: the routing keys that an event of the log must meet beside those that it was recorded with, when it is told
-- to somebody who comes back: those that it would be recorded with now. A member of a session, a device of a participant,
-- a creator hears of what it has missed only what it still could hear.
--   '[]'  nothing beside them. So it is where the object is gone: who saw it before it went hears of that; and where the
--         message itself names whom it is for (JoinSessionEvent, ArchiveEvent)
CREATE FUNCTION terasocket.present_keys(type text, object_type text, object_id bigint, body jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    ot      terasocket.object_types;
    object  jsonb;
    exists  boolean;
BEGIN
    CASE type
    WHEN 'opentera.protobuf.DatabaseEvent' THEN
        SELECT * INTO ot FROM terasocket.object_types t WHERE t.object_type = present_keys.object_type;
        IF to_regclass('OPENTERA.' || ot.table_name) IS NULL THEN
            RETURN '[]';
        END IF;
        EXECUTE format('SELECT to_jsonb(t) FROM OPENTERA.%I t WHERE t.%I = $1', ot.table_name, ot.id_key) INTO object USING object_id;
        IF object IS NULL OR object ->> 'deleted_at' IS NOT NULL THEN
            RETURN '[]';
        END IF;
        RETURN terasocket.keys(object_type, object);
    WHEN 'opentera.protobuf.UserEvent' THEN
        exists := EXISTS (SELECT FROM OPENTERA.t_users u WHERE u.user_uuid = lower(body ->> 'userUuid') AND u.deleted_at IS NULL);
    WHEN 'opentera.protobuf.ParticipantEvent' THEN
        exists := EXISTS (SELECT FROM OPENTERA.t_participants p WHERE p.participant_uuid = lower(body ->> 'participantUuid') AND p.deleted_at IS NULL);
    WHEN 'opentera.protobuf.DeviceEvent' THEN
        exists := EXISTS (SELECT FROM OPENTERA.t_devices d WHERE d.device_uuid = lower(body ->> 'deviceUuid') AND d.deleted_at IS NULL);
    WHEN 'opentera.protobuf.LeaveSessionEvent', 'opentera.protobuf.JoinSessionReplyEvent', 'opentera.protobuf.StopSessionEvent' THEN
        exists := EXISTS (SELECT FROM OPENTERA.t_sessions s WHERE s.session_uuid = lower(body ->> 'sessionUuid') AND s.deleted_at IS NULL);
    ELSE
        exists := false;
    END CASE;
    RETURN CASE WHEN exists THEN terasocket.message_keys(type, body) ELSE '[]' END;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA terasocket FROM PUBLIC;
