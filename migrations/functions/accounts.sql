-- Accounts of participants and devices, for the door.

-- participant_account: a participant that is not deleted, by one of the four arguments; it may be disabled. Usernames are not unique: the
-- first. key: OpenTera's key of static tokens (null: it has none).
CREATE OR REPLACE FUNCTION terasocket.participant_account(by_username text DEFAULT NULL, by_uuid text DEFAULT NULL, by_id integer DEFAULT NULL, by_token text DEFAULT NULL)
RETURNS TABLE (id integer, uuid text, name text, password text, is_enabled boolean, has_login boolean, has_token boolean, id_project integer,
               token text, key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT p.id_participant, p.participant_uuid::text, p.participant_name::text, p.participant_password::text, p.participant_enabled,
           p.participant_login_enabled, p.participant_token_enabled, p.id_project, p.participant_token::text,
           (SELECT s.server_settings_value::text FROM OPENTERA.t_server_settings s WHERE s.server_settings_name = 'ParticipantTokenEncryptionKey')
    FROM  (SELECT min(n.id_participant) FROM OPENTERA.t_participants n WHERE n.participant_username = by_username AND n.deleted_at IS NULL
           UNION ALL
           SELECT n.id_participant FROM OPENTERA.t_participants n WHERE n.participant_uuid = by_uuid
           UNION ALL
           SELECT n.id_participant FROM OPENTERA.t_participants n WHERE n.participant_token = by_token
           UNION ALL
           SELECT by_id WHERE by_id IS NOT NULL) who (id_participant)
    JOIN   OPENTERA.t_participants p ON p.id_participant = who.id_participant AND p.deleted_at IS NULL;
END $$;

-- project_session_types: the session types of these projects, as returned at login.
CREATE OR REPLACE FUNCTION terasocket.project_session_types(projects integer[]) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('id_service', t.id_service, 'id_session_type', t.id_session_type,
                       'session_type_category', t.session_type_category, 'session_type_color', t.session_type_color,
                       'session_type_name', t.session_type_name) || terasocket.session_type_service(t.id_service) ORDER BY t.id_session_type), '[]')
            FROM   OPENTERA.t_sessions_types t
            WHERE  t.deleted_at IS NULL
              AND  EXISTS (SELECT FROM OPENTERA.t_sessions_types_projects l
                           JOIN   OPENTERA.t_projects p ON p.id_project = l.id_project AND p.deleted_at IS NULL
                           WHERE  l.id_session_type = t.id_session_type AND l.id_project = ANY (projects) AND l.deleted_at IS NULL));
END $$;

CREATE OR REPLACE FUNCTION terasocket.participant_session_types(id_participant integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN terasocket.project_session_types(ARRAY(SELECT p.id_project FROM OPENTERA.t_participants p
                                                  WHERE p.id_participant = participant_session_types.id_participant AND p.deleted_at IS NULL));
END $$;

-- device_by_uuid: a device that is not deleted; it may be disabled.
CREATE OR REPLACE FUNCTION terasocket.device_by_uuid(by_uuid text) RETURNS TABLE (id integer, uuid text, name text, is_enabled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT d.id_device, d.device_uuid::text, d.device_name::text, d.device_enabled
    FROM OPENTERA.t_devices d WHERE d.device_uuid = by_uuid AND d.deleted_at IS NULL;
END $$;

-- device_login: what a device is told at login, as OpenTera's three objects. null: deleted or disabled.
CREATE OR REPLACE FUNCTION terasocket.device_login(id_device integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
                   'device_info', jsonb_build_object(
                       'device_config', d.device_config, 'device_enabled', d.device_enabled, 'device_infos', d.device_infos,
                       'device_lastonline', terasocket.iso(to_jsonb(d) ->> 'device_lastonline'), 'device_name', d.device_name, 'device_notes', d.device_notes,
                       'device_onlineable', d.device_onlineable, 'device_token', d.device_token, 'device_uuid', d.device_uuid,
                       'id_device', d.id_device, 'id_device_subtype', d.id_device_subtype, 'id_device_type', d.id_device_type,
                       'device_type', t.device_type_name, 'device_subtype', s.device_subtype_name),
                   'participants_info', (
                       SELECT coalesce(jsonb_agg(jsonb_build_object('participant_name', p.participant_name, 'participant_uuid', p.participant_uuid)
                                                 ORDER BY p.id_participant), '[]')
                       FROM   OPENTERA.t_participants p
                       WHERE  p.deleted_at IS NULL
                         AND  p.id_participant IN (SELECT l.id_participant FROM OPENTERA.t_devices_participants l
                                                   WHERE l.id_device = d.id_device AND l.deleted_at IS NULL)),
                   'session_types_info', terasocket.project_session_types(ARRAY(
                       SELECT l.id_project FROM OPENTERA.t_devices_projects l WHERE l.id_device = d.id_device AND l.deleted_at IS NULL)))
        FROM   OPENTERA.t_devices d
        LEFT   JOIN OPENTERA.t_devices_types t    ON t.id_device_type = d.id_device_type
        LEFT   JOIN OPENTERA.t_devices_subtypes s ON s.id_device_subtype = d.id_device_subtype
        WHERE  d.id_device = device_login.id_device AND d.device_enabled AND d.deleted_at IS NULL);
END $$;
