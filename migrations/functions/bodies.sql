-- Bodies: what clients see of an object, OpenTera's to_json (its sheet database-events, sections 2 to 5). Only the keys of object_types
-- ever leave a row.

-- rows: the rows of these objects as JSON. (One statement per table, so that plans are cached.)
CREATE OR REPLACE FUNCTION terasocket.rows(object_type text, ids bigint[]) RETURNS TABLE (id bigint, r jsonb)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    CASE object_type
    WHEN 'site' THEN
        RETURN QUERY SELECT o.id_site::bigint, to_jsonb(o) FROM OPENTERA.t_sites o WHERE o.id_site = ANY (ids);
    WHEN 'project' THEN
        RETURN QUERY SELECT o.id_project::bigint, to_jsonb(o) FROM OPENTERA.t_projects o WHERE o.id_project = ANY (ids);
    WHEN 'user_group' THEN
        RETURN QUERY SELECT o.id_user_group::bigint, to_jsonb(o) FROM OPENTERA.t_users_groups o WHERE o.id_user_group = ANY (ids);
    WHEN 'user' THEN
        RETURN QUERY SELECT o.id_user::bigint, to_jsonb(o) FROM OPENTERA.t_users o WHERE o.id_user = ANY (ids);
    WHEN 'participant_group' THEN
        RETURN QUERY SELECT o.id_participant_group::bigint, to_jsonb(o) FROM OPENTERA.t_participants_groups o WHERE o.id_participant_group = ANY (ids);
    WHEN 'participant' THEN
        RETURN QUERY SELECT o.id_participant::bigint, to_jsonb(o) FROM OPENTERA.t_participants o WHERE o.id_participant = ANY (ids);
    WHEN 'device' THEN
        RETURN QUERY SELECT o.id_device::bigint, to_jsonb(o) FROM OPENTERA.t_devices o WHERE o.id_device = ANY (ids);
    WHEN 'service' THEN
        RETURN QUERY SELECT o.id_service::bigint, to_jsonb(o) FROM OPENTERA.t_services o WHERE o.id_service = ANY (ids);
    WHEN 'session_type' THEN
        RETURN QUERY SELECT o.id_session_type::bigint, to_jsonb(o) FROM OPENTERA.t_sessions_types o WHERE o.id_session_type = ANY (ids);
    WHEN 'test_type' THEN
        RETURN QUERY SELECT o.id_test_type::bigint, to_jsonb(o) FROM OPENTERA.t_tests_types o WHERE o.id_test_type = ANY (ids);
    WHEN 'session_type_site' THEN
        RETURN QUERY SELECT o.id_session_type_site::bigint, to_jsonb(o) FROM OPENTERA.t_sessions_types_sites o WHERE o.id_session_type_site = ANY (ids);
    WHEN 'session_type_project' THEN
        RETURN QUERY SELECT o.id_session_type_project::bigint, to_jsonb(o) FROM OPENTERA.t_sessions_types_projects o WHERE o.id_session_type_project = ANY (ids);
    WHEN 'session_type_service' THEN
        RETURN QUERY SELECT o.id_session_type_service::bigint, to_jsonb(o) FROM OPENTERA.t_sessions_types_services o WHERE o.id_session_type_service = ANY (ids);
    WHEN 'session' THEN
        RETURN QUERY SELECT o.id_session::bigint, to_jsonb(o) FROM OPENTERA.t_sessions o WHERE o.id_session = ANY (ids);
    WHEN 'asset' THEN
        RETURN QUERY SELECT o.id_asset::bigint, to_jsonb(o) FROM OPENTERA.t_assets o WHERE o.id_asset = ANY (ids);
    WHEN 'test' THEN
        RETURN QUERY SELECT o.id_test::bigint, to_jsonb(o) FROM OPENTERA.t_tests o WHERE o.id_test = ANY (ids);
    WHEN 'test_invitation' THEN
        RETURN QUERY SELECT o.id_test_invitation::bigint, to_jsonb(o) FROM OPENTERA.t_tests_invitations o WHERE o.id_test_invitation = ANY (ids);
    WHEN 'server_settings' THEN
        RETURN QUERY SELECT o.id_server_settings::bigint, to_jsonb(o) FROM OPENTERA.t_server_settings o WHERE o.id_server_settings = ANY (ids);
    END CASE;
END $$;

-- iso: a timestamptz as OpenTera prints it, in UTC: no fraction, or six digits. (No function contains a backslash: the writer may have
-- turned standard_conforming_strings off.)
CREATE OR REPLACE FUNCTION terasocket.iso(t text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN t ~ '^.{19}[.][0-9]{1,5}[+]' THEN rpad(split_part(t, '+', 1), 26, '0') || '+' || split_part(t, '+', 2) ELSE t END
$$;

-- opentera_is: whether this OpenTera is of that version or a later one, according to the server setting ServerVersions ("version_string":
-- "OpenTera_v1.3.0"). Without it, it is assumed to be old.
CREATE OR REPLACE FUNCTION terasocket.opentera_is(version integer[]) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$ BEGIN
    RETURN coalesce((SELECT regexp_match(s.server_settings_value, '"version_string"[ ]*:[ ]*"[^"0-9]*([0-9]{1,6})[.]([0-9]{1,6})[.]([0-9]{1,6})')::integer[] >= version
                     FROM OPENTERA.t_server_settings s WHERE s.server_settings_name = 'ServerVersions'), false);
END $$;

-- session_type_service: what OpenTera returns about a session type's service, from 1.3.1 on; nothing for a type without one.
CREATE OR REPLACE FUNCTION terasocket.session_type_service(id_service bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$ BEGIN
    RETURN coalesce((SELECT jsonb_build_object('session_type_service_key', s.service_key, 'session_type_service_uuid', s.service_uuid)
                     FROM   OPENTERA.t_services s
                     WHERE  s.id_service = session_type_service.id_service AND s.deleted_at IS NULL AND terasocket.opentera_is('{1,3,1}')), '{}');
END $$;

-- computed: the keys that OpenTera adds to the columns. created: for the event of an INSERT.
CREATE OR REPLACE FUNCTION terasocket.computed(object_type text, r jsonb, created boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    added jsonb := '{}';
BEGIN
    CASE object_type
    WHEN 'user' THEN
        added := jsonb_build_object('user_name', concat_ws(' ', r ->> 'user_firstname', r ->> 'user_lastname'));
    WHEN 'session' THEN
        -- OpenTera does not know the creator yet when it announces a new session
        IF NOT created THEN
            SELECT coalesce(jsonb_object_agg(c.key, c.name) || jsonb_object_agg(c.key || '_uuid', c.uuid), '{}') INTO added
            FROM  (SELECT 'session_creator_user' AS key, concat_ws(' ', user_firstname, user_lastname) AS name, user_uuid AS uuid
                   FROM OPENTERA.t_users WHERE id_user = (r ->> 'id_creator_user')::bigint AND deleted_at IS NULL
                   UNION ALL
                   SELECT 'session_creator_device', device_name, device_uuid
                   FROM OPENTERA.t_devices WHERE id_device = (r ->> 'id_creator_device')::bigint AND deleted_at IS NULL
                   UNION ALL
                   SELECT 'session_creator_participant', participant_name, participant_uuid
                   FROM OPENTERA.t_participants WHERE id_participant = (r ->> 'id_creator_participant')::bigint AND deleted_at IS NULL
                   UNION ALL
                   SELECT 'session_creator_service', service_name, service_uuid
                   FROM OPENTERA.t_services WHERE id_service = (r ->> 'id_creator_service')::bigint AND deleted_at IS NULL) c;
        END IF;
        added := added || jsonb_build_object(
            'session_assets_count', (SELECT count(*) FROM OPENTERA.t_assets WHERE id_session = (r ->> 'id_session')::bigint AND deleted_at IS NULL),
            'session_tests_count', (SELECT count(*) FROM OPENTERA.t_tests WHERE id_session = (r ->> 'id_session')::bigint AND deleted_at IS NULL));
    WHEN 'service' THEN
        added := jsonb_build_object('service_roles', '[]'::jsonb, 'service_projects', '[]'::jsonb);
        IF NOT created THEN
            added := jsonb_build_object(
                'service_roles', (
                    SELECT coalesce(jsonb_agg(
                               jsonb_build_object('id_service', o.id_service, 'id_service_role', o.id_service_role,
                                                  'service_role_name', o.service_role_name, 'service_name', r ->> 'service_name')
                            || CASE WHEN p.id_project IS NULL THEN '{}'
                                    ELSE jsonb_build_object('id_project', p.id_project, 'project_name', p.project_name) END
                            || CASE WHEN s.id_site IS NULL THEN '{}'
                                    ELSE jsonb_build_object('id_site', s.id_site, 'site_name', s.site_name) END
                               ORDER BY o.id_service_role), '[]')
                    FROM   OPENTERA.t_services_roles o
                    LEFT   JOIN OPENTERA.t_projects p ON p.id_project = o.id_project
                    LEFT   JOIN OPENTERA.t_sites s    ON s.id_site = o.id_site
                    WHERE  o.id_service = (r ->> 'id_service')::bigint AND o.deleted_at IS NULL),
                'service_projects', (
                    SELECT coalesce(jsonb_agg(jsonb_build_object('id_project', l.id_project, 'id_service', l.id_service,
                                                                 'id_service_project', l.id_service_project)
                                              ORDER BY l.id_service_project), '[]')
                    FROM   OPENTERA.t_services_projects l
                    WHERE  l.id_service = (r ->> 'id_service')::bigint AND l.deleted_at IS NULL));
        END IF;
    WHEN 'session_type' THEN
        added := terasocket.session_type_service((r ->> 'id_service')::bigint);
    WHEN 'session_type_site', 'session_type_service', 'session_type_project' THEN
        SELECT jsonb_build_object('session_type_id_service', t.id_service) INTO added
        FROM   OPENTERA.t_sessions_types t WHERE t.id_session_type = (r ->> 'id_session_type')::bigint;
    ELSE
        NULL;
    END CASE;
    RETURN coalesce(added, '{}');
END $$;

-- visible_body: object_value of a DB_CREATE or DB_UPDATE, from the row. created: the object was not announced before.
CREATE OR REPLACE FUNCTION terasocket.visible_body(ot terasocket.object_types, r jsonb, created boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    body jsonb := r - ARRAY(SELECT h.key FROM jsonb_object_keys(r) h (key) WHERE h.key <> ALL (ot.keys) AND h.key <> 'deleted_at');
    k    text;
BEGIN
    IF body -> 'deleted_at' = 'null' THEN
        body := body - 'deleted_at';
    END IF;
    FOREACH k IN ARRAY ot.time_keys || '{deleted_at}' LOOP
        IF jsonb_typeof(body -> k) = 'string' THEN
            body := jsonb_set(body, ARRAY[k], to_jsonb(terasocket.iso(body ->> k)));
        END IF;
    END LOOP;
    IF ot.object_type = 'service' THEN
        FOREACH k IN ARRAY '{service_endpoint_user,service_endpoint_participant,service_endpoint_device}'::text[] LOOP
            IF coalesce(body ->> k, '') = '' THEN
                body := body - k;
            END IF;
        END LOOP;
    END IF;
    IF ot.object_type IN ('user', 'session', 'service', 'session_type', 'session_type_site', 'session_type_service', 'session_type_project') THEN
        body := body || terasocket.computed(ot.object_type, r, created);
    END IF;
    IF pg_column_size(body) > 65536 THEN
        RETURN terasocket.bounded_body(body);
    END IF;
    RETURN body;
END $$;

-- bounded_body: the same without its long texts, and with "truncated": true, if it exceeds the setting terasocket.max_body_bytes (ALTER
-- DATABASE ... SET), 1 MiB unless set: the client then reads the object by REST.
CREATE OR REPLACE FUNCTION terasocket.bounded_body(body jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    setting text := nullif(current_setting('terasocket.max_body_bytes', true), '');
BEGIN
    IF octet_length(body::text) <= (CASE WHEN setting ~ '^[0-9]{1,9}$' THEN setting::integer ELSE 1048576 END) THEN
        RETURN body;
    END IF;
    RETURN (SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') || '{"truncated": true}'
            FROM jsonb_each(body) b WHERE length(b.value::text) <= 1000);
END $$;

-- deleted_body: object_value of a DB_DELETE.
CREATE OR REPLACE FUNCTION terasocket.deleted_body(ot terasocket.object_types, r jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    body jsonb := '{}';
    k    text;
BEGIN
    FOREACH k IN ARRAY ot.delete_keys LOOP
        IF r ? k THEN
            body := body || jsonb_build_object(k, r -> k);
        END IF;
    END LOOP;
    RETURN body;
END $$;
