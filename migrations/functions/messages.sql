-- Messages: presence, what services publish, kicks. They are never merged; each is announced in its place. Their keys combine the members
-- at the time of publishing with the roles of the announced state.

-- message_members: the tags of those whom a message addresses directly: the members of its session, the owner of an archive. A replier
-- does not receive its own reply (OpenTera's sheet access-rules, section 5).
CREATE OR REPLACE FUNCTION terasocket.message_members(message_type text, event jsonb) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    session  text := lower(event ->> 'sessionUuid');
    about    bigint;
    but      text[] := '{}';
BEGIN
    CASE message_type
    WHEN 'opentera.protobuf.JoinSessionEvent' THEN
        -- the message decides, not the database (= ANY of an array uses the index, IN of a query may not)
        RETURN ARRAY(SELECT 'u:' || u.id_user FROM OPENTERA.t_users u
                     WHERE u.user_uuid = ANY (ARRAY(SELECT lower(jsonb_array_elements_text(event -> 'sessionUsers')))))
            || ARRAY(SELECT 't:' || p.id_participant FROM OPENTERA.t_participants p
                     WHERE p.participant_uuid = ANY (ARRAY(SELECT lower(jsonb_array_elements_text(event -> 'sessionParticipants')))))
            || ARRAY(SELECT 'd:' || d.id_device FROM OPENTERA.t_devices d
                     WHERE d.device_uuid = ANY (ARRAY(SELECT lower(jsonb_array_elements_text(event -> 'sessionDevices')))));
    WHEN 'opentera.protobuf.LeaveSessionEvent', 'opentera.protobuf.JoinSessionReplyEvent', 'opentera.protobuf.StopSessionEvent' THEN
        IF message_type = 'opentera.protobuf.JoinSessionReplyEvent' THEN
            but := terasocket.owner_tags(event ->> 'userUuid', '{user}') || terasocket.owner_tags(event ->> 'participantUuid', '{participant}')
                || terasocket.owner_tags(event ->> 'deviceUuid', '{device}');
        END IF;
        SELECT s.id_session INTO about FROM OPENTERA.t_sessions s WHERE s.session_uuid = session AND s.deleted_at IS NULL;
        IF NOT FOUND THEN
            RETURN '{}';
        END IF;
        RETURN ARRAY(
            SELECT t.tag
            FROM  (SELECT 'u:' || l.id_user FROM OPENTERA.t_sessions_users l WHERE l.id_session = about AND l.deleted_at IS NULL
                   UNION
                   SELECT 't:' || l.id_participant FROM OPENTERA.t_sessions_participants l WHERE l.id_session = about AND l.deleted_at IS NULL
                   UNION
                   SELECT 'd:' || l.id_device FROM OPENTERA.t_sessions_devices l WHERE l.id_session = about AND l.deleted_at IS NULL) t (tag)
            WHERE  t.tag <> ALL (but) ORDER BY 1);
    WHEN 'opentera.protobuf.ArchiveEvent' THEN
        RETURN terasocket.owner_tags(event ->> 'ownerUuid');
    ELSE
        RETURN '{}';
    END CASE;
END $$;

-- owner_tags: the tag of the user, participant or device with this UUID. (plpgsql caches its plans; a function in SQL plans each time.)
CREATE OR REPLACE FUNCTION terasocket.owner_tags(uuid text, kinds text[] DEFAULT '{user,participant,device}') RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    own   text := lower(uuid);
    tags  text[] := '{}';
BEGIN
    IF 'user' = ANY (kinds) THEN
        tags := tags || ARRAY(SELECT 'u:' || u.id_user FROM OPENTERA.t_users u WHERE u.user_uuid = own AND u.deleted_at IS NULL);
    END IF;
    IF 'participant' = ANY (kinds) THEN
        tags := tags || ARRAY(SELECT 't:' || p.id_participant FROM OPENTERA.t_participants p WHERE p.participant_uuid = own AND p.deleted_at IS NULL);
    END IF;
    IF 'device' = ANY (kinds) THEN
        tags := tags || ARRAY(SELECT 'd:' || d.id_device FROM OPENTERA.t_devices d WHERE d.device_uuid = own AND d.deleted_at IS NULL);
    END IF;
    RETURN tags;
END $$;

-- message_roles: the tags of those who receive a message because of what they see: its principal (with the devices of a participant, the
-- participants of a device), or its session (StopSessionEvent).
CREATE OR REPLACE FUNCTION terasocket.message_roles(message_type text, event jsonb) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE message_type
    WHEN 'opentera.protobuf.UserEvent' THEN
        RETURN (SELECT terasocket.presence_roles('user', u.id_user) FROM OPENTERA.t_users u WHERE u.user_uuid = lower(event ->> 'userUuid'));
    WHEN 'opentera.protobuf.ParticipantEvent' THEN
        RETURN (SELECT terasocket.presence_roles('participant', p.id_participant) FROM OPENTERA.t_participants p
                WHERE  p.participant_uuid = lower(event ->> 'participantUuid'));
    WHEN 'opentera.protobuf.DeviceEvent' THEN
        RETURN (SELECT terasocket.presence_roles('device', d.id_device) FROM OPENTERA.t_devices d WHERE d.device_uuid = lower(event ->> 'deviceUuid'));
    WHEN 'opentera.protobuf.StopSessionEvent' THEN
        RETURN (SELECT terasocket.session_clause(s.id_session, s.id_creator_user, s.id_creator_participant) || terasocket.session_list_clause(s.id_session)
                FROM   OPENTERA.t_sessions s WHERE s.session_uuid = lower(event ->> 'sessionUuid') AND s.deleted_at IS NULL);
    ELSE
        RETURN '{}';
    END CASE;
END $$;

-- message_keys: who may receive a message; nobody if its subject is unknown or deleted.
CREATE OR REPLACE FUNCTION terasocket.message_keys(message_type text, event jsonb, members text[], owner text[] DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_array(ARRAY(SELECT DISTINCT unnest(coalesce(members, '{}') || terasocket.message_roles(message_type, event)) ORDER BY 1))
        || CASE WHEN owner IS NULL THEN '[]' ELSE jsonb_build_array(owner) END;
END $$;

-- announced_messages: the rows of the log for messages, presence and kicks.
CREATE OR REPLACE FUNCTION terasocket.announced_messages(picked terasocket.changes[], careful boolean) RETURNS terasocket.events[]
LANGUAGE plpgsql AS $$
DECLARE
    c     terasocket.changes;
    rows  terasocket.events[] := '{}';
BEGIN
    FOR c IN SELECT * FROM unnest(picked) p WHERE p.what IN ('message', 'presence', 'kick') LOOP
        IF careful THEN
            BEGIN
                rows := rows || terasocket.announced_message(c);
            EXCEPTION
                WHEN transaction_rollback OR lock_not_available OR insufficient_resources OR operator_intervention OR system_error THEN
                    RAISE;
                WHEN OTHERS THEN
                    PERFORM terasocket.put_aside(c.what, c.id, SQLSTATE, SQLERRM);
            END;
        ELSE
            rows := rows || terasocket.announced_message(c);
        END IF;
    END LOOP;
    RETURN rows;
END $$;

-- announced_message: the row of one message; none for the presence of a physically deleted principal.
CREATE OR REPLACE FUNCTION terasocket.announced_message(c terasocket.changes) RETURNS terasocket.events[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    topic    text := c.body ->> 'topic';
    name     text := c.body ->> 'type';
    message  jsonb := c.body -> 'message';
BEGIN
    IF c.what = 'kick' THEN
        RETURN ARRAY[ROW(c.id, 1, c.at, '', 'terasocket.Kick', NULL, c.body ->> 'kind', (c.body ->> 'id')::bigint,
                         jsonb_build_object('token', c.body -> 'token'), NULL, NULL, NULL, NULL)::terasocket.events];
    ELSIF c.what = 'presence' THEN
        topic := 'module.TeraServer.UserManagerModule.events';
        SELECT m.name, m.message INTO name, message
        FROM   terasocket.presence_message(c.body ->> 'kind', (c.body ->> 'principal')::integer, c.body ->> 'type', coalesce(c.body ->> 'status', '')) m;
        IF message IS NULL THEN
            RETURN '{}';
        END IF;
    END IF;
    RETURN ARRAY[ROW(c.id, 1, c.at, topic, name, NULL, NULL, NULL, message, NULL,
        CASE WHEN name <> 'opentera.protobuf.LoginEvent' THEN terasocket.message_keys(name, message,
            ARRAY(SELECT jsonb_array_elements_text(CASE jsonb_typeof(c.body -> 'members') WHEN 'array' THEN c.body -> 'members' ELSE '[]' END)),
            CASE jsonb_typeof(c.body -> 'owner') WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(c.body -> 'owner')) END) END, NULL, NULL)::terasocket.events];
END $$;
