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

-- timeline: which history of which server the log belongs to. After a failover to a standby that had not received
-- everything, transaction ids and seqs that clients have heard are given out again: a cursor from before names another
-- row, or none. Cursors below first_seq are of another timeline: clients that come with one are told that the log does not
-- reach back to it.
CREATE TABLE terasocket.timeline (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    id         text    NOT NULL,
    first_seq  bigint  NOT NULL DEFAULT 0
);

-- this_timeline: the server's system identifier and timeline.
CREATE FUNCTION terasocket.this_timeline() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()
$$;
INSERT INTO terasocket.timeline (id) VALUES (terasocket.this_timeline());

-- enter_timeline: called by a gateway when it connects. Returns first_seq, which has changed when the timeline has: the
-- first one to notice takes the seqs far beyond all that the lost server may have given out.
CREATE FUNCTION terasocket.enter_timeline() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this  text := terasocket.this_timeline();
    first bigint;
BEGIN
    SELECT t.first_seq INTO first FROM terasocket.timeline t WHERE t.id = this;
    IF FOUND THEN
        RETURN first;
    END IF;
    PERFORM FROM terasocket.timeline t FOR UPDATE;
    UPDATE terasocket.timeline t
    SET    id = this,
           first_seq = setval(pg_get_serial_sequence('terasocket.events', 'seq'),
                              nextval(pg_get_serial_sequence('terasocket.events', 'seq')) + 1000000)
    WHERE  t.id <> this;
    RETURN (SELECT t.first_seq FROM terasocket.timeline t);
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA terasocket FROM PUBLIC;
