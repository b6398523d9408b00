-- Capture: statement-level triggers on OpenTera's tables record every change that a client may see as an event.
--
--   capture()            the 18 object types: INSERT, UPDATE, DELETE
--   capture_truncate()   the same, TRUNCATE: every row is recorded as deleted
--   capture_link()       link tables: an object comes into or goes out of somebody's sight
--   remember_deleted()   BEFORE DELETE of what others are seen through: a cascade takes the links away before capture() runs
--   settle()             at commit: what was recorded in several statements is seen as the transaction leaves it
--
-- None of them names a column of OpenTera's tables in a way that PostgreSQL records, none of them can make OpenTera's
-- own write fail (what goes wrong is in terasocket.capture_errors), and only the keys of object_types leave a row.

CREATE TABLE terasocket.object_types (
    object_type   text PRIMARY KEY,     -- OpenTera's name, as in DatabaseEvent.object_type
    table_name    text NOT NULL UNIQUE,
    id_key        text NOT NULL,        -- primary key
    keys          text[] NOT NULL,      -- columns that clients see; a column that this OpenTera lacks is absent
    time_keys     text[] NOT NULL DEFAULT '{}',
    delete_keys   text[] NOT NULL,      -- object_value of a DB_DELETE
    routing_keys  text[] NOT NULL,      -- columns that decide who may see the object
    noticed_keys  text[] NOT NULL DEFAULT '{}',  -- a change of these is announced, their value is not
    seen_through  boolean NOT NULL DEFAULT false -- other objects are seen through this one
);
COMMENT ON TABLE terasocket.object_types IS 'the 18 kinds of database events, OpenTera''s sheet database-events';

INSERT INTO terasocket.object_types (object_type, table_name, id_key, keys, time_keys, delete_keys, routing_keys, noticed_keys, seen_through) VALUES
('site', 't_sites', 'id_site',
    '{id_site,site_2fa_required,site_name}', '{}', '{id_site}', '{}', '{}', true),
('project', 't_projects', 'id_project',
    '{id_project,id_site,project_description,project_enabled,project_name}', '{}', '{id_project}', '{id_site}', '{}', true),
('user', 't_users', 'id_user',
    '{id_user,user_2fa_enabled,user_enabled,user_firstname,user_lastname,user_superadmin,user_uuid}', '{}',
    '{id_user,user_uuid}', '{}', '{}', true),
('user_group', 't_users_groups', 'id_user_group',
    '{id_user_group,user_group_name}', '{}', '{id_user_group}', '{}', '{}', true),
('participant_group', 't_participants_groups', 'id_participant_group',
    '{id_participant_group,id_project,participant_group_name}', '{}', '{id_participant_group}', '{id_project}', '{}', false),
('participant', 't_participants', 'id_participant',
    '{id_participant,id_participant_group,id_project,participant_email,participant_enabled,participant_name,participant_token_enabled,participant_uuid}', '{}',
    '{id_participant,participant_uuid}', '{id_project}', '{}', true),
('device', 't_devices', 'id_device',
    '{device_enabled,device_name,device_uuid,id_device,id_device_subtype,id_device_type}', '{}',
    '{id_device,device_uuid}', '{}', '{}', true),
('service', 't_services', 'id_service',
    '{id_service,service_clientendpoint,service_default_config,service_editable_config,service_enabled,service_endpoint,service_endpoint_device,service_endpoint_participant,service_endpoint_user,service_has_assets,service_has_tests,service_hostname,service_key,service_name,service_port,service_system,service_uuid}', '{}',
    '{id_service,service_key}', '{}', '{}', true),
('session_type', 't_sessions_types', 'id_session_type',
    '{id_service,id_session_type,session_type_category,session_type_color,session_type_name}', '{}',
    '{id_session_type,id_service}', '{}', '{}', true),
('session_type_site', 't_sessions_types_sites', 'id_session_type_site',
    '{id_session_type,id_session_type_site,id_site}', '{}', '{id_session_type_site}', '{id_site}', '{}', false),
('session_type_project', 't_sessions_types_projects', 'id_session_type_project',
    '{id_project,id_session_type,id_session_type_project}', '{}', '{id_session_type_project}', '{id_project}', '{}', false),
('session_type_service', 't_sessions_types_services', 'id_session_type_service',
    '{id_service,id_session_type,id_session_type_service}', '{}', '{id_session_type_service}', '{id_service,id_session_type}', '{}', false),
('session', 't_sessions', 'id_session',
    '{id_creator_device,id_creator_participant,id_creator_service,id_creator_user,id_session,id_session_type,session_duration,session_name,session_start_datetime,session_status,session_uuid}',
    '{session_start_datetime}', '{id_session,session_uuid}', '{id_creator_participant,id_creator_user}', '{}', true),
('asset', 't_assets', 'id_asset',
    '{asset_datetime,asset_expiration_datetime,asset_name,asset_service_uuid,asset_type,asset_uuid,id_asset,id_device,id_participant,id_service,id_session,id_user}',
    '{asset_datetime,asset_expiration_datetime}', '{id_asset,asset_uuid}', '{asset_service_uuid,id_session}', '{}', false),
('test_type', 't_tests_types', 'id_test_type',
    '{id_service,id_test_type,test_type_description,test_type_has_json_format,test_type_has_web_editor,test_type_has_web_format,test_type_key,test_type_name,test_type_uuid}', '{}',
    '{id_test_type,test_type_uuid}', '{id_service}', '{}', true),
('test', 't_tests', 'id_test',
    '{id_device,id_participant,id_service,id_session,id_test,id_test_type,id_user,test_datetime,test_name,test_status,test_summary,test_uuid}',
    '{test_datetime}', '{id_test,test_uuid}', '{id_session,id_test_type}', '{}', false),
('test_invitation', 't_tests_invitations', 'id_test_invitation',
    '{id_device,id_participant,id_project,id_session,id_test_invitation,id_test_type,id_user,test_invitation_count,test_invitation_creation_date,test_invitation_expiration_date,test_invitation_key,test_invitation_max_count,test_invitation_message}',
    '{test_invitation_creation_date,test_invitation_expiration_date}', '{id_test_invitation,test_invitation_key}',
    '{id_device,id_participant,id_project,id_session,id_test_type,id_user}', '{}', false),
('server_settings', 't_server_settings', 'id_server_settings',
    '{id_server_settings,server_settings_name}', '{}', '{id_server_settings}', '{}', '{server_settings_value}', false);

-- ---------------------------------------------------------------- what clients see of a row

-- hidden: the columns of this row that clients never see. All rows of a table have the same.
CREATE FUNCTION terasocket.hidden(ot terasocket.object_types, r jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY(SELECT k FROM jsonb_object_keys(r) k WHERE k <> ALL (ot.keys) AND k <> 'deleted_at')
$$;

-- iso: a timestamptz as OpenTera prints it, in UTC: no fraction, or six digits of it. (No backslash in any function:
-- the writer may have turned standard_conforming_strings off.)
CREATE FUNCTION terasocket.iso(t text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN t ~ '^.{19}[.][0-9]{1,5}[+]' THEN rpad(split_part(t, '+', 1), 26, '0') || '+' || split_part(t, '+', 2) ELSE t END
$$;

-- computed: the keys that OpenTera adds to the columns. created: this is the event of an INSERT.
CREATE FUNCTION terasocket.computed(object_type text, r jsonb, created boolean) RETURNS jsonb
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
    WHEN 'session_type_site', 'session_type_service', 'session_type_project' THEN
        SELECT jsonb_build_object('session_type_id_service', t.id_service) INTO added
        FROM   OPENTERA.t_sessions_types t WHERE t.id_session_type = (r ->> 'id_session_type')::bigint;
    ELSE
        NULL;
    END CASE;
    RETURN coalesce(added, '{}');
END $$;

-- visible_body: object_value of a DB_CREATE or DB_UPDATE, from the row.
CREATE FUNCTION terasocket.visible_body(ot terasocket.object_types, hidden text[], r jsonb, created boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    body jsonb := r - hidden;
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
    IF ot.object_type IN ('user', 'session', 'service', 'session_type_site', 'session_type_service', 'session_type_project') THEN
        body := body || terasocket.computed(ot.object_type, r, created);
    END IF;
    RETURN body;
END $$;

-- deleted_body: object_value of a DB_DELETE.
CREATE FUNCTION terasocket.deleted_body(ot terasocket.object_types, r jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_object_agg(k, r -> k) FROM unnest(ot.delete_keys) k WHERE r ? k
$$;

-- change: the event of one row. before is null for a new row, after for a deleted one. No event (op is null) when nobody
-- could see the row before nor can now.
--   audience   who receives the body: those who see the row now; of a delete or soft delete, those who saw it before
--   former     who saw it before, when that may be others: they receive former_body, a DB_DELETE
CREATE FUNCTION terasocket.change(ot terasocket.object_types, hidden text[], before jsonb, after jsonb,
    OUT op text, OUT object_id bigint, OUT body jsonb, OUT audience jsonb, OUT former jsonb, OUT former_body jsonb)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    was_alive boolean := before IS NOT NULL AND before ->> 'deleted_at' IS NULL;
    is_alive  boolean := after IS NOT NULL AND after ->> 'deleted_at' IS NULL;
    moved     boolean := false;
    k         text;
BEGIN
    IF NOT was_alive AND NOT is_alive THEN
        RETURN;
    END IF;
    object_id := (coalesce(after, before) ->> ot.id_key)::bigint;
    IF after IS NULL THEN
        op       := 'D';
        body     := terasocket.deleted_body(ot, before);
        audience := coalesce(terasocket.recall(ot.object_type || ':' || object_id), terasocket.keys(ot.object_type, before));
        RETURN;
    END IF;
    op       := CASE WHEN before IS NULL THEN 'C' ELSE 'U' END;
    body     := terasocket.visible_body(ot, hidden, after, before IS NULL);
    audience := terasocket.keys(ot.object_type, after);
    IF was_alive THEN
        FOREACH k IN ARRAY ot.routing_keys LOOP
            moved := moved OR before -> k IS DISTINCT FROM after -> k;
        END LOOP;
    ELSIF before IS NOT NULL THEN
        former := '[[]]';   -- undeleted: nobody saw it before
    END IF;
    IF moved THEN
        former      := terasocket.keys(ot.object_type, before);
        former_body := terasocket.deleted_body(ot, after);
    END IF;
    IF moved AND NOT is_alive THEN
        audience := '[[]]';   -- moved and deleted at once: what it became is nobody's business
    END IF;
END $$;

-- ---------------------------------------------------------------- what a transaction must remember

-- is_seen_through: whether other objects are seen through this one, so that it has to be remembered when it dies.
CREATE FUNCTION terasocket.is_seen_through(ot terasocket.object_types, id bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE ot.object_type
           WHEN 'participant' THEN EXISTS (SELECT FROM OPENTERA.t_tests_invitations i WHERE i.id_participant = is_seen_through.id)
           ELSE ot.seen_through END
$$;

-- note_statement: called by every capturing statement. From the second of a transaction on, settle() is asked for.
CREATE FUNCTION terasocket.note_statement() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    xid text := pg_current_xact_id()::text;
BEGIN
    IF current_setting('terasocket.xid', true) IS DISTINCT FROM xid THEN
        PERFORM set_config('terasocket.xid', xid, true);
    ELSE
        INSERT INTO terasocket.pending (what) VALUES ('settle') ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- remember_dead: who can be told later that these objects are gone. Called while their links are still there. With a
-- site, project, user group or service roles die too: who held the routing keys of these is remembered by name.
CREATE FUNCTION terasocket.remember_dead(ot terasocket.object_types, r jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    id    bigint := (r ->> ot.id_key)::bigint;
    tags  text[];
BEGIN
    CASE ot.object_type
    WHEN 'site' THEN
        tags := ARRAY['s:' || id, 'a:' || id]
             || ARRAY(SELECT 'p:' || p.id_project FROM OPENTERA.t_projects p WHERE p.id_site = id AND p.deleted_at IS NULL);
    WHEN 'project' THEN
        tags := ARRAY['p:' || id, 's:' || (r ->> 'id_site')];
    WHEN 'user_group' THEN
        tags := terasocket.user_group_clause(id);
    WHEN 'service' THEN
        tags := terasocket.service_clause(id) || ARRAY(
            SELECT unnest(ARRAY['p:' || p.id_project, 's:' || p.id_site])
            FROM   OPENTERA.t_services_roles o JOIN OPENTERA.t_projects p ON p.id_project = o.id_project
            WHERE  o.id_service = id AND o.deleted_at IS NULL
            UNION
            SELECT unnest(ARRAY['s:' || o.id_site, 'a:' || o.id_site])
            FROM   OPENTERA.t_services_roles o
            WHERE  o.id_service = id AND o.id_site IS NOT NULL AND o.deleted_at IS NULL
            UNION
            SELECT 'p:' || p.id_project
            FROM   OPENTERA.t_services_roles o JOIN OPENTERA.t_projects p ON p.id_site = o.id_site
            WHERE  o.id_service = id AND o.deleted_at IS NULL AND o.service_role_name = 'admin');
    ELSE
        NULL;
    END CASE;
    IF tags IS NOT NULL THEN
        INSERT INTO terasocket.pending (what, value)
        SELECT t.tag, coalesce(jsonb_agg('u:' || h.id_user) FILTER (WHERE h.id_user IS NOT NULL), '[]')
        FROM   unnest(tags) t (tag)
        LEFT   JOIN terasocket.holders(tags, ot.object_type || ':' || id) h ON h.tag = t.tag
        WHERE  t.tag <> 'x'
        GROUP  BY t.tag
        ON CONFLICT DO NOTHING;
    END IF;
    IF ot.object_type NOT IN ('site', 'project') AND terasocket.is_seen_through(ot, id) THEN
        INSERT INTO terasocket.pending (what, value)
        SELECT w.what, terasocket.keys(ot.object_type, r)
        FROM  (VALUES (ot.object_type || ':' || id), (CASE ot.object_type WHEN 'service' THEN 'service:' || (r ->> 'service_uuid') END)) w (what)
        WHERE w.what IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- ---------------------------------------------------------------- the triggers

CREATE FUNCTION terasocket.capture() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off AS $$
DECLARE
    ot      terasocket.object_types;
    hidden  text[];
    ignored text[];
    written bigint;
    dead    bigint[];
    topic   text := 'module.TeraServer.DatabaseModule.events.' || TG_ARGV[0];
    state text; message text; context text;
BEGIN
    BEGIN
        SELECT * INTO STRICT ot FROM terasocket.object_types o WHERE o.object_type = TG_ARGV[0];
        IF TG_OP IN ('INSERT', 'UPDATE') THEN
            SELECT terasocket.hidden(ot, to_jsonb(n)) INTO hidden FROM new_rows n LIMIT 1;
            IF NOT FOUND THEN RETURN NULL; END IF;
        END IF;
        IF TG_OP = 'INSERT' THEN
            INSERT INTO terasocket.events (topic, type, op, object_type, object_id, body, audience, former, former_body)
            SELECT topic, 'opentera.protobuf.DatabaseEvent', c.op, ot.object_type, c.object_id, c.body, c.audience, c.former, c.former_body
            FROM   new_rows n, LATERAL terasocket.change(ot, hidden, NULL, to_jsonb(n)) c
            WHERE  c.op IS NOT NULL;
            GET DIAGNOSTICS written = ROW_COUNT;
        ELSIF TG_OP = 'UPDATE' THEN
            -- rows of which nothing that clients see has changed end here
            ignored := ARRAY(SELECT k FROM unnest(hidden) k WHERE k <> ALL (ot.noticed_keys));
            -- (OFFSET 0 keeps PostgreSQL from making the JSON of a row more than once)
            WITH recorded AS (
                INSERT INTO terasocket.events (topic, type, op, object_type, object_id, body, audience, former, former_body)
                SELECT topic, 'opentera.protobuf.DatabaseEvent', c.op, ot.object_type, c.object_id, c.body, c.audience, c.former, c.former_body
                FROM   (SELECT r.j, r.j ->> ot.id_key AS id FROM (SELECT to_jsonb(r) AS j FROM old_rows r OFFSET 0) r OFFSET 0) o
                FULL   JOIN (SELECT r.j, r.j ->> ot.id_key AS id FROM (SELECT to_jsonb(r) AS j FROM new_rows r OFFSET 0) r OFFSET 0) n ON n.id = o.id,
                       LATERAL terasocket.change(ot, hidden, o.j, n.j) c
                WHERE  o.j - ignored IS DISTINCT FROM n.j - ignored AND c.op IS NOT NULL
                RETURNING object_id, body ? 'deleted_at' AS is_dead
            )
            SELECT count(*), array_agg(r.object_id) FILTER (WHERE r.is_dead) INTO written, dead FROM recorded r;
            IF dead IS NOT NULL AND ot.seen_through THEN
                PERFORM terasocket.remember_dead(ot, to_jsonb(o)) FROM old_rows o
                WHERE  (to_jsonb(o) ->> ot.id_key)::bigint IN (SELECT unnest(dead));
            END IF;
        ELSE
            INSERT INTO terasocket.events (topic, type, op, object_type, object_id, body, audience)
            SELECT topic, 'opentera.protobuf.DatabaseEvent', c.op, ot.object_type, c.object_id, c.body, c.audience
            FROM   old_rows o, LATERAL terasocket.change(ot, NULL, to_jsonb(o), NULL) c
            WHERE  c.op IS NOT NULL;
            GET DIAGNOSTICS written = ROW_COUNT;
        END IF;
        IF written > 0 THEN
            PERFORM terasocket.note_statement();
        END IF;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
        PERFORM terasocket.capture_failed(TG_TABLE_NAME, TG_OP, state, message, context);
    END;
    RETURN NULL;
END $$;

-- remember_cascade: a physical delete takes what hangs on it away level by level, so that each of these finds nothing
-- left of what it is seen through. Those that are seen through more than one of the vanishing things are remembered.
CREATE FUNCTION terasocket.remember_cascade(object_type text, id bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    projects bigint[] := ARRAY(SELECT p.id_project FROM OPENTERA.t_projects p
                               WHERE  remember_cascade.id = CASE remember_cascade.object_type WHEN 'site' THEN p.id_site WHEN 'project' THEN p.id_project END);
BEGIN
    INSERT INTO terasocket.pending (what, value)
    SELECT 'service:' || k.key, terasocket.keys('service', to_jsonb(s))
    FROM   OPENTERA.t_services s, unnest(ARRAY[s.id_service::text, s.service_uuid]) k (key)
    WHERE  s.deleted_at IS NULL
      AND (EXISTS (SELECT FROM OPENTERA.t_services_projects l WHERE l.id_service = s.id_service AND l.id_project = ANY (projects))
           OR remember_cascade.object_type = 'site'
              AND EXISTS (SELECT FROM OPENTERA.t_services_sites l WHERE l.id_service = s.id_service AND l.id_site = remember_cascade.id))
    ON CONFLICT DO NOTHING;
    INSERT INTO terasocket.pending (what, value)
    SELECT 'test_invitation:' || i.id_test_invitation, terasocket.keys('test_invitation', to_jsonb(i))
    FROM   OPENTERA.t_tests_invitations i
    WHERE  i.deleted_at IS NULL
      AND (i.id_project = ANY (projects) OR remember_cascade.object_type = 'session' AND i.id_session = remember_cascade.id)
    ON CONFLICT DO NOTHING;
END $$;

CREATE FUNCTION terasocket.remember_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off AS $$
DECLARE
    ot terasocket.object_types;
    state text; message text; context text;
BEGIN
    BEGIN
        SELECT * INTO STRICT ot FROM terasocket.object_types o WHERE o.object_type = TG_ARGV[0];
        IF to_jsonb(OLD) ->> 'deleted_at' IS NULL THEN
            PERFORM terasocket.remember_dead(ot, to_jsonb(OLD));
            IF ot.object_type IN ('site', 'project', 'session') THEN
                PERFORM terasocket.remember_cascade(ot.object_type, (to_jsonb(OLD) ->> ot.id_key)::bigint);
            END IF;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
        PERFORM terasocket.capture_failed(TG_TABLE_NAME, TG_OP, state, message, context);
    END;
    RETURN OLD;
END $$;

CREATE FUNCTION terasocket.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off AS $$
DECLARE
    ot terasocket.object_types;
    state text; message text; context text;
BEGIN
    BEGIN
        SELECT * INTO STRICT ot FROM terasocket.object_types o WHERE o.object_type = TG_ARGV[0];
        -- before any table of the statement is emptied: the links are still there
        EXECUTE format('INSERT INTO terasocket.events (topic, type, op, object_type, object_id, body, audience)
                        SELECT $2, ''opentera.protobuf.DatabaseEvent'', c.op, $3, c.object_id, c.body, c.audience
                        FROM   %I.%I t, LATERAL terasocket.change($1, NULL, to_jsonb(t), NULL) c
                        WHERE  c.op IS NOT NULL', TG_TABLE_SCHEMA, TG_TABLE_NAME)
        USING ot, 'module.TeraServer.DatabaseModule.events.' || ot.object_type, ot.object_type;
        IF ot.seen_through THEN
            EXECUTE format('SELECT terasocket.remember_dead($1, to_jsonb(t)) FROM %I.%I t WHERE to_jsonb(t) ->> ''deleted_at'' IS NULL',
                           TG_TABLE_SCHEMA, TG_TABLE_NAME)
            USING ot;
        END IF;
        PERFORM terasocket.note_statement();
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
        PERFORM terasocket.capture_failed(TG_TABLE_NAME, TG_OP, state, message, context);
    END;
    RETURN NULL;
END $$;

-- link_tags: what a row of a link table adds to the routing keys of its object.
CREATE FUNCTION terasocket.link_tags(table_name text, r jsonb) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT CASE table_name
           WHEN 't_services_sites' THEN ARRAY['a:' || (r ->> 'id_site')]
           WHEN 't_services_projects' THEN ARRAY['p:' || (r ->> 'id_project')]
           WHEN 't_sessions_users' THEN ARRAY['u:' || (r ->> 'id_user')]
           WHEN 't_sessions_participants' THEN ARRAY(
               SELECT 'p:' || p.id_project FROM OPENTERA.t_participants p
               WHERE  p.id_participant = (r ->> 'id_participant')::bigint
                 AND (p.deleted_at IS NULL
                      OR EXISTS (SELECT FROM terasocket.events e   -- dead, but not before this transaction
                                 WHERE e.xid = pg_current_xact_id_if_assigned() AND e.object_type = 'participant'
                                   AND e.object_id = p.id_participant AND e.op IS NOT NULL)))
           ELSE ARRAY['s:' || (r ->> 'id_site')] END
$$;

-- service_clause_before: what service_clause(id) was before a statement that has turned old_links into new_links.
CREATE FUNCTION terasocket.service_clause_before(table_name text, id bigint, old_links jsonb, new_links jsonb) RETURNS text[]
LANGUAGE sql STABLE AS $$
    WITH link AS (
        SELECT 't_services_projects' AS of, to_jsonb(l) AS j FROM OPENTERA.t_services_projects l WHERE l.id_service = service_clause_before.id
        UNION ALL
        SELECT 't_services_sites', to_jsonb(l) FROM OPENTERA.t_services_sites l WHERE l.id_service = service_clause_before.id
    ), was AS (
        SELECT l.of, l.j FROM link l
        WHERE  l.of <> table_name OR NOT EXISTS (SELECT FROM jsonb_array_elements(new_links) n (j) WHERE n.j = l.j)
        UNION ALL
        SELECT table_name, o.j FROM jsonb_array_elements(old_links) o (j) WHERE (o.j ->> 'id_service')::bigint = service_clause_before.id
    )
    SELECT ARRAY['x'] || ARRAY(
        SELECT DISTINCT unnest(terasocket.link_tags(w.of, w.j)) FROM was w
        WHERE  w.j ->> 'deleted_at' IS NULL
          AND (NOT EXISTS (SELECT FROM was o WHERE o.of <> w.of)
               OR EXISTS (SELECT FROM was o WHERE o.of <> w.of AND o.j ->> 'deleted_at' IS NULL)) ORDER BY 1)
$$;

-- capture_link(object_type): who lost the object hears a DB_DELETE, who sees it now a DB_UPDATE. Where the transaction
-- has already recorded an event of the object, that one is given the new audience by settle() instead.
CREATE FUNCTION terasocket.capture_link() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off AS $$
DECLARE
    ot       terasocket.object_types;
    olds     jsonb := '[]';   -- the rows before
    news     jsonb := '[]';   -- and after
    lost     jsonb := '[]';   -- [{"id": object, "tags": [...]}, ...] of those alive
    gained   jsonb := '[]';
    object   jsonb;
    was      jsonb;           -- tags that only old_rows give
    came     jsonb;           -- tags that only new_rows give
    now_keys jsonb;
    former   jsonb;
    is_lost  boolean;
    state text; message text; context text;
BEGIN
    BEGIN
        SELECT * INTO STRICT ot FROM terasocket.object_types o WHERE o.object_type = TG_ARGV[0];
        IF TG_OP IN ('UPDATE', 'DELETE') THEN
            SELECT coalesce(jsonb_agg(to_jsonb(o)), '[]') INTO olds FROM old_rows o;
        END IF;
        IF TG_OP IN ('INSERT', 'UPDATE') THEN
            SELECT coalesce(jsonb_agg(to_jsonb(n)), '[]') INTO news FROM new_rows n;
        END IF;
        IF olds = news THEN RETURN NULL; END IF;
        -- of a service, dead links count too: see service_clause()
        SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('id', l.j -> ot.id_key, 'tags', terasocket.link_tags(TG_TABLE_NAME, l.j),
                                                              'dead', l.j ->> 'deleted_at' IS NOT NULL)), '[]')
        INTO   lost
        FROM   jsonb_array_elements(olds) l (j) WHERE l.j ->> 'deleted_at' IS NULL OR ot.object_type = 'service';
        SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('id', l.j -> ot.id_key, 'tags', terasocket.link_tags(TG_TABLE_NAME, l.j),
                                                              'dead', l.j ->> 'deleted_at' IS NOT NULL)), '[]')
        INTO   gained
        FROM   jsonb_array_elements(news) l (j) WHERE l.j ->> 'deleted_at' IS NULL OR ot.object_type = 'service';
        FOR object, was, came IN
            EXECUTE format('SELECT to_jsonb(t), d.was, d.came
                            FROM  (SELECT (e ->> ''id'')::bigint AS id, jsonb_agg(g.tag) FILTER (WHERE was) AS was,
                                          jsonb_agg(g.tag) FILTER (WHERE NOT was) AS came
                                   FROM  ((SELECT e, true AS was FROM jsonb_array_elements($1) e EXCEPT SELECT e, true FROM jsonb_array_elements($2) e)
                                          UNION ALL
                                          (SELECT e, false FROM jsonb_array_elements($2) e EXCEPT SELECT e, false FROM jsonb_array_elements($1) e)) x,
                                          jsonb_array_elements_text(e -> ''tags'') g (tag)
                                   GROUP  BY 1) d
                            JOIN   %I.%I t ON t.%I = d.id
                            WHERE  to_jsonb(t) ->> ''deleted_at'' IS NULL', TG_TABLE_SCHEMA, ot.table_name, ot.id_key)
            USING lost, gained
        LOOP
            now_keys := terasocket.keys(ot.object_type, object);
            IF ot.object_type = 'service' THEN
                former := jsonb_build_array(terasocket.service_clause_before(TG_TABLE_NAME, (object ->> ot.id_key)::bigint, olds, news));
            ELSE
                former := jsonb_set(now_keys, '{0}', (now_keys -> 0) - ARRAY(SELECT jsonb_array_elements_text(came)) || coalesce(was, '[]'));
            END IF;
            former := coalesce(terasocket.recall(ot.object_type || ':' || (object ->> ot.id_key)), former);
            is_lost := NOT ((now_keys -> 0) @> (former -> 0) AND coalesce((now_keys -> 1) @> (former -> 1), true));
            IF is_lost THEN
                INSERT INTO terasocket.pending (what, value) VALUES (ot.object_type || ':' || (object ->> ot.id_key), former)
                ON CONFLICT DO NOTHING;
            END IF;
            INSERT INTO terasocket.events (topic, type, op, object_type, object_id, body, audience, former, former_body)
            SELECT 'module.TeraServer.DatabaseModule.events.' || ot.object_type, 'opentera.protobuf.DatabaseEvent', 'U',
                   ot.object_type, (object ->> ot.id_key)::bigint,
                   terasocket.visible_body(ot, terasocket.hidden(ot, object), object, false), now_keys,
                   former, CASE WHEN is_lost THEN terasocket.deleted_body(ot, object) END
            WHERE  NOT EXISTS (SELECT FROM terasocket.events e WHERE e.xid = pg_current_xact_id()
                               AND e.object_type = ot.object_type AND e.object_id = (object ->> ot.id_key)::bigint AND e.op IS NOT NULL);
        END LOOP;
        PERFORM terasocket.note_statement();
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
        PERFORM terasocket.capture_failed(TG_TABLE_NAME, TG_OP, state, message, context);
    END;
    RETURN NULL;
END $$;

-- note_rights: roles, groups and memberships raise no event, but what the same transaction has recorded is settled.
CREATE FUNCTION terasocket.note_rights() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state text; message text; context text;
BEGIN
    BEGIN
        PERFORM terasocket.note_statement();
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
        PERFORM terasocket.capture_failed(TG_TABLE_NAME, TG_OP, state, message, context);
    END;
    RETURN NULL;
END $$;

-- settle: once, at the commit of a transaction of several capturing statements. Whoever hears an event of it hears it by
-- the committed state: an object that was created before its links, or touched twice, is routed as it ended up.
--   alive at the end:  all its events go to those who see it now; who saw it before the transaction and does not
--                      any more is told by the last one
--   dead at the end:   its events go to those who saw it before the transaction; if it moved on the way, they are told
--                      only that it is gone
-- Where sites, projects, groups and services died, the users who held the routing keys by them are told by name.
CREATE FUNCTION terasocket.settle() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off AS $$
DECLARE
    some_died boolean;
    state text; message text; context text;
BEGIN
    BEGIN
        -- the first row of pending settles for all; its own row is the cheapest to find gone
        IF NOT EXISTS (SELECT FROM terasocket.pending p WHERE p.xid = NEW.xid AND p.what = NEW.what)
           OR current_setting('terasocket.not_settled', true) = NEW.xid::text THEN
            RETURN NULL;
        END IF;
        -- objects are looked at as they are now, not as they were
        DELETE FROM terasocket.pending p WHERE p.xid = NEW.xid AND p.what !~ '^[sap]:';
        some_died := EXISTS (SELECT FROM terasocket.pending p WHERE p.xid = NEW.xid);
        WITH event AS (
            SELECT e.seq, e.object_type, e.op,
                   row_number() OVER newest = 1 AS is_last,
                   first_value(e.body) OVER newest AS last_body,
                   first_value(e.op = 'D' OR e.body ? 'deleted_at') OVER newest AS is_dead,
                   bool_or(e.former_body IS NOT NULL) OVER (PARTITION BY e.object_type, e.object_id) AS has_moved,
                   CASE WHEN first_value(e.op) OVER oldest = 'C' THEN '[[]]'
                        ELSE first_value(coalesce(e.former, e.audience)) OVER oldest END AS seen_before
            FROM   terasocket.events e
            WHERE  e.xid = NEW.xid AND e.op IS NOT NULL
            WINDOW newest AS (PARTITION BY e.object_type, e.object_id ORDER BY e.seq DESC),
                   oldest AS (PARTITION BY e.object_type, e.object_id ORDER BY e.seq)
        ), routed AS (
            SELECT e.seq, e.object_type, e.last_body,
                   CASE WHEN NOT e.is_dead THEN terasocket.keys(e.object_type, e.last_body)
                        WHEN e.has_moved AND e.op <> 'D' THEN '[[]]'
                        ELSE e.told END AS audience,
                   CASE WHEN e.is_last AND e.op <> 'D' AND (e.has_moved OR NOT e.is_dead)
                        THEN nullif(e.told, '[[]]') END AS former
            FROM  (SELECT e.*, CASE WHEN some_died THEN terasocket.without_dead(e.seen_before, NEW.xid) ELSE e.seen_before END AS told
                   FROM event e) e
        ), settled AS (
            SELECT r.seq, r.audience, nullif(r.former, r.audience) AS former,
                   CASE WHEN r.former <> r.audience THEN terasocket.deleted_body(ot, r.last_body) END AS former_body
            FROM   routed r JOIN terasocket.object_types ot ON ot.object_type = r.object_type
        )
        UPDATE terasocket.events e
        SET    audience = s.audience, former = s.former, former_body = s.former_body
        FROM   settled s
        WHERE  e.seq = s.seq AND (e.audience, e.former, e.former_body) IS DISTINCT FROM (s.audience, s.former, s.former_body);
        DELETE FROM terasocket.pending p WHERE p.xid = NEW.xid;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
        PERFORM terasocket.capture_failed('events', 'SETTLE', state, message, context);
        PERFORM set_config('terasocket.not_settled', NEW.xid::text, true);  -- not again for each row of pending
    END;
    RETURN NULL;
END $$;

-- without_dead: the same routing keys, and beside each tag whose holders died out in this transaction the users who held it.
CREATE FUNCTION terasocket.without_dead(keys jsonb, xid xid8) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(c.clause || coalesce(
               (SELECT jsonb_agg(DISTINCT u.tag)
                FROM   jsonb_array_elements_text(c.clause) t (tag)
                JOIN   terasocket.pending p ON p.xid = without_dead.xid AND p.what = t.tag AND t.tag ~ '^[sap]:',
                       jsonb_array_elements(p.value) u (tag)), '[]') ORDER BY c.n), '[]')
    FROM   jsonb_array_elements(keys) WITH ORDINALITY c (clause, n)
$$;

CREATE CONSTRAINT TRIGGER settle AFTER INSERT ON terasocket.pending
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION terasocket.settle();

-- ---------------------------------------------------------------- on OpenTera's tables

-- attach(): puts the triggers on every table that this OpenTera has. Can be called again after an OpenTera upgrade.
CREATE FUNCTION terasocket.attach() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ot         terasocket.object_types;
    link       record;
    op         record;
    on_table   regclass;
BEGIN
    PERFORM terasocket.detach();
    FOR ot IN SELECT * FROM terasocket.object_types LOOP
        on_table := to_regclass('OPENTERA.' || ot.table_name);
        CONTINUE WHEN on_table IS NULL;
        FOR op IN SELECT * FROM (VALUES
                ('insert', 'INSERT', 'NEW TABLE AS new_rows'),
                ('update', 'UPDATE', 'OLD TABLE AS old_rows NEW TABLE AS new_rows'),
                ('delete', 'DELETE', 'OLD TABLE AS old_rows')) o (name, event, tables) LOOP
            EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION terasocket.capture(%L)',
                           'terasocket_' || op.name, op.event, on_table, op.tables, ot.object_type);
        END LOOP;
        EXECUTE format('CREATE TRIGGER terasocket_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION terasocket.capture_truncate(%L)',
                       on_table, ot.object_type);
        IF ot.seen_through THEN
            EXECUTE format('CREATE TRIGGER terasocket_remember BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION terasocket.remember_deleted(%L)',
                           on_table, ot.object_type);
        END IF;
    END LOOP;
    FOR link IN SELECT * FROM (VALUES
            ('t_devices_sites', 'device'), ('t_services_projects', 'service'), ('t_services_sites', 'service'),
            ('t_sessions_users', 'session'), ('t_sessions_participants', 'session'),
            ('t_sessions_types_sites', 'session_type'), ('t_tests_types_sites', 'test_type')) l (table_name, object_type) LOOP
        on_table := to_regclass('OPENTERA.' || link.table_name);
        CONTINUE WHEN on_table IS NULL;
        FOR op IN SELECT * FROM (VALUES
                ('insert', 'INSERT', 'NEW TABLE AS new_rows'),
                ('update', 'UPDATE', 'OLD TABLE AS old_rows NEW TABLE AS new_rows'),
                ('delete', 'DELETE', 'OLD TABLE AS old_rows')) o (name, event, tables) LOOP
            EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION terasocket.capture_link(%L)',
                           'terasocket_link_' || op.name, op.event, on_table, op.tables, link.object_type);
        END LOOP;
    END LOOP;
    FOR link IN SELECT * FROM unnest('{t_users_users_groups,t_services_access,t_services_roles,t_sessions_devices}'::text[]) l (table_name) LOOP
        on_table := to_regclass('OPENTERA.' || link.table_name);
        CONTINUE WHEN on_table IS NULL;
        EXECUTE format('CREATE TRIGGER terasocket_rights AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION terasocket.note_rights()',
                       on_table);
    END LOOP;
    -- OpenTera has no index on any foreign key. These are the ones that the rules walk along.
    FOR link IN SELECT * FROM (VALUES
            ('t_users_users_groups', 'id_user'), ('t_users_users_groups', 'id_user_group'),
            ('t_services_access', 'id_user_group'), ('t_services_access', 'id_service_role'),
            ('t_services_roles', 'id_project'), ('t_services_roles', 'id_site'), ('t_services_roles', 'id_service'),
            ('t_services_projects', 'id_service'), ('t_services_sites', 'id_service'),
            ('t_devices_sites', 'id_device'), ('t_devices_participants', 'id_device'), ('t_devices_participants', 'id_participant'),
            ('t_sessions_types_sites', 'id_session_type'), ('t_tests_types_sites', 'id_test_type'),
            ('t_sessions_users', 'id_session'), ('t_sessions_participants', 'id_session'), ('t_sessions_devices', 'id_session'),
            ('t_assets', 'id_session'), ('t_tests', 'id_session'), ('t_tests_invitations', 'id_participant')) i (table_name, column_name) LOOP
        on_table := to_regclass('OPENTERA.' || link.table_name);
        IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = on_table AND attname = link.column_name AND NOT attisdropped) THEN
            EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %s (%I)',
                           'terasocket_' || link.table_name || '_' || link.column_name, on_table, link.column_name);
        END IF;
    END LOOP;
END $$;

-- detach(): takes all of it away again.
CREATE FUNCTION terasocket.detach() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT g.tgname, g.tgrelid::regclass AS on_table
             FROM   pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
             WHERE  p.pronamespace = 'terasocket'::regnamespace AND NOT g.tgisinternal
               AND  g.tgrelid NOT IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'terasocket'::regnamespace) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.on_table);
    END LOOP;
    FOR t IN SELECT i.indexrelid::regclass AS index
             FROM   pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             WHERE  c.relname ~ '^terasocket_t_' AND i.indrelid IN (SELECT c.oid FROM pg_class c WHERE c.relname ~ '^t_') LOOP
        EXECUTE format('DROP INDEX %s', t.index);
    END LOOP;
END $$;

SELECT terasocket.attach();
