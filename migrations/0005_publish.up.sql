-- Publishing: what a service wants clients to hear becomes a row of the event log in the service's own transaction.
--
--   SELECT terasocket.publish('websocket.user.<uuid>.events',
--                             '{"@type": "type.googleapis.com/opentera.protobuf.StopSessionEvent", "sessionUuid": "..."}')
--
-- Topics mean what they mean in OpenTera (sheet websocket, section 4). Whatever the topic, the rules decide who hears:
-- a direct topic only narrows that down to one socket owner.

-- The fields of the messages that a service may publish (OpenTera's message dictionary).
CREATE TABLE terasocket.message_fields (
    type       text     NOT NULL,  -- full name of the message
    no         integer  NOT NULL,  -- field number
    name       text     NOT NULL,  -- in the .proto file
    json_name  text     NOT NULL,  -- in ProtoJSON
    kind       text     NOT NULL CHECK (kind IN ('string', 'uuid', 'uuids', 'enum')),
    required   boolean  NOT NULL DEFAULT false,
    enum       text[],             -- names of the values, number 0 first
    PRIMARY KEY (type, no),
    UNIQUE (type, name),
    UNIQUE (type, json_name)
);
INSERT INTO terasocket.message_fields
SELECT 'opentera.protobuf.' || f.type, f.no, f.name,
       regexp_replace(f.name, '_.*', '') || replace(initcap(replace(substr(f.name, length(regexp_replace(f.name, '_.*', '')) + 1), '_', ' ')), ' ', ''),
       f.kind, f.required, f.enum::text[]
FROM  (VALUES
    ('UserEvent', 1, 'user_uuid', 'uuid', true, NULL),
    ('UserEvent', 2, 'type', 'enum', false, '{USER_UNKNOWN,USER_CONNECTED,USER_DISCONNECTED,USER_DELETED,USER_ADDED,USER_UPDATED,USER_JOINED_SESSION,USER_LEFT_SESSION}'),
    ('UserEvent', 3, 'user_fullname', 'string', false, NULL),
    ('ParticipantEvent', 1, 'participant_uuid', 'uuid', true, NULL),
    ('ParticipantEvent', 2, 'type', 'enum', false, '{PARTICIPANT_UNKNOWN,PARTICIPANT_CONNECTED,PARTICIPANT_DISCONNECTED,PARTICIPANT_DELETED,PARTICIPANT_ADDED,PARTICIPANT_JOINED_SESSION,PARTICIPANT_LEFT_SESSION}'),
    ('ParticipantEvent', 3, 'participant_name', 'string', false, NULL),
    ('ParticipantEvent', 4, 'participant_project_name', 'string', false, NULL),
    ('ParticipantEvent', 5, 'participant_site_name', 'string', false, NULL),
    ('DeviceEvent', 1, 'device_uuid', 'uuid', true, NULL),
    ('DeviceEvent', 2, 'type', 'enum', false, '{DEVICE_UNKNOWN,DEVICE_CONNECTED,DEVICE_DISCONNECTED,DEVICE_DELETED,DEVICE_ADDED,DEVICE_JOINED_SESSION,DEVICE_LEFT_SESSION,DEVICE_STATUS_CHANGED}'),
    ('DeviceEvent', 3, 'device_name', 'string', false, NULL),
    ('DeviceEvent', 4, 'device_status', 'string', false, NULL),
    ('JoinSessionEvent', 1, 'session_url', 'string', false, NULL),
    ('JoinSessionEvent', 2, 'session_creator_name', 'string', false, NULL),
    ('JoinSessionEvent', 3, 'session_uuid', 'uuid', true, NULL),
    ('JoinSessionEvent', 4, 'session_participants', 'uuids', false, NULL),
    ('JoinSessionEvent', 5, 'session_users', 'uuids', false, NULL),
    ('JoinSessionEvent', 6, 'session_devices', 'uuids', false, NULL),
    ('JoinSessionEvent', 7, 'join_msg', 'string', false, NULL),
    ('JoinSessionEvent', 8, 'session_parameters', 'string', false, NULL),
    ('JoinSessionEvent', 9, 'service_uuid', 'uuid', false, NULL),
    ('JoinSessionReplyEvent', 1, 'session_uuid', 'uuid', true, NULL),
    ('JoinSessionReplyEvent', 2, 'user_uuid', 'uuid', false, NULL),
    ('JoinSessionReplyEvent', 3, 'participant_uuid', 'uuid', false, NULL),
    ('JoinSessionReplyEvent', 4, 'device_uuid', 'uuid', false, NULL),
    ('JoinSessionReplyEvent', 5, 'join_reply', 'enum', false, '{REPLY_UNKNOWN,REPLY_ACCEPTED,REPLY_DENIED,REPLY_BUSY,REPLY_TIMEOUT}'),
    ('JoinSessionReplyEvent', 6, 'reply_msg', 'string', false, NULL),
    ('LeaveSessionEvent', 1, 'session_uuid', 'uuid', true, NULL),
    ('LeaveSessionEvent', 2, 'service_uuid', 'uuid', false, NULL),
    ('LeaveSessionEvent', 3, 'leaving_participants', 'uuids', false, NULL),
    ('LeaveSessionEvent', 4, 'leaving_users', 'uuids', false, NULL),
    ('LeaveSessionEvent', 5, 'leaving_devices', 'uuids', false, NULL),
    ('StopSessionEvent', 1, 'session_uuid', 'uuid', true, NULL),
    ('StopSessionEvent', 2, 'service_uuid', 'uuid', false, NULL),
    ('ArchiveEvent', 1, 'archive_uuid', 'uuid', true, NULL),
    ('ArchiveEvent', 2, 'owner_uuid', 'uuid', true, NULL),
    ('ArchiveEvent', 3, 'status', 'enum', false, '{STATUS_PENDING,STATUS_INPROGRESS,STATUS_COMPLETED,STATUS_CANCELLED,STATUS_DELETED}'),
    ('ArchiveEvent', 4, 'archive_url', 'string', false, NULL),
    ('ServerCommand', 1, 'type', 'enum', false, '{CMD_UNKNOWN,CMD_REGISTER_DEVICE,CMD_CLIENT_DISCONNECT}')
) f (type, no, name, kind, required, enum);

-- refuse: an error that names the argument and says what it must be. SQLSTATE 22023, 54000 for an event that is too big.
CREATE FUNCTION terasocket.refuse(argument text, problem text, state text DEFAULT '22023') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = format('publish: %s %s', argument, problem);
END $$;

-- is_uuid: 8-4-4-4-12 hexadecimal digits.
CREATE FUNCTION terasocket.is_uuid(s text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT s ~ '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$'
$$;

-- check_call: what must hold before an event of that many bytes is looked at. The limit is the setting
-- terasocket.max_event_bytes (ALTER DATABASE ... SET), 256 KiB unless set and never more than 16 MiB. It guards against
-- mistakes: a session can set it for itself.
CREATE FUNCTION terasocket.check_call(topic text, message_type text, size integer) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    setting  text := coalesce(nullif(current_setting('terasocket.max_event_bytes', true), ''), '262144');
BEGIN
    IF topic IS NULL THEN
        PERFORM terasocket.refuse('topic', 'is null');
    ELSIF message_type IS NULL THEN
        PERFORM terasocket.refuse('type', 'is null');
    ELSIF size IS NULL THEN
        PERFORM terasocket.refuse('event', 'is null');
    ELSIF setting !~ '^[0-9]{1,9}$' THEN
        PERFORM terasocket.refuse('setting', format('terasocket.max_event_bytes is %L, not a number of bytes', left(setting, 100)));
    ELSIF size > least(setting::integer, 16777216) THEN
        PERFORM terasocket.refuse('event', format('is of %s bytes, more than %s (terasocket.max_event_bytes)', size,
                                                  least(setting::integer, 16777216)), '54000');
    ELSIF NOT EXISTS (SELECT FROM terasocket.message_fields m WHERE m.type = message_type) THEN
        PERFORM terasocket.refuse('type', format('%L is not of a message that clients hear', left(message_type, 100)));
    END IF;
END $$;

-- checked: the message as ProtoJSON with OpenTera's own keys, enum values by name, null left out. Keys may be spelled as
-- in the .proto file, enum values as numbers. Refused is whatever would not arrive as it was published: a key or a
-- value that OpenTera's message has not, a UUID that is none.
CREATE FUNCTION terasocket.checked(message_type text, event jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    f       terasocket.message_fields;
    k       text;
    v       jsonb;
    place   numeric;
    message jsonb := '{}';
BEGIN
    IF jsonb_typeof(event) IS DISTINCT FROM 'object' THEN
        PERFORM terasocket.refuse('event', 'is not a JSON object');
    END IF;
    FOR k, v IN SELECT * FROM jsonb_each(event - '@type') LOOP
        SELECT * INTO f FROM terasocket.message_fields m WHERE m.type = message_type AND k IN (m.name, m.json_name);
        IF NOT FOUND THEN
            PERFORM terasocket.refuse('event', format('has a key %L, which %s has not', left(k, 100), message_type));
        ELSIF k <> f.json_name AND event ? f.json_name THEN
            PERFORM terasocket.refuse('event', format('has %s and %s, which are the same', k, f.json_name));
        END IF;
        CONTINUE WHEN v = 'null';
        CASE f.kind
        WHEN 'string', 'uuid' THEN
            IF jsonb_typeof(v) <> 'string' THEN
                PERFORM terasocket.refuse('event', format('has a %s that is not a string', k));
            ELSIF f.kind = 'uuid' AND v <> '""' AND NOT terasocket.is_uuid(v #>> '{}') THEN
                PERFORM terasocket.refuse('event', format('has a %s that is not a UUID', k));
            END IF;
        WHEN 'uuids' THEN
            IF jsonb_typeof(v) <> 'array' THEN
                PERFORM terasocket.refuse('event', format('has a %s that is not an array', k));
            ELSIF EXISTS (SELECT FROM jsonb_array_elements(v) item
                          WHERE jsonb_typeof(item) <> 'string' OR NOT terasocket.is_uuid(item #>> '{}')) THEN
                PERFORM terasocket.refuse('event', format('has a %s with something in it that is not a UUID', k));
            END IF;
        WHEN 'enum' THEN
            place := CASE jsonb_typeof(v) WHEN 'number' THEN (v #>> '{}')::numeric
                                          WHEN 'string' THEN array_position(f.enum, v #>> '{}') - 1 END;
            IF place IS NULL OR place <> trunc(place) OR place < 0 OR place >= cardinality(f.enum) THEN
                PERFORM terasocket.refuse('event', format('has a %s that is none of %s', k, array_to_string(f.enum, ', ')));
            END IF;
            v := to_jsonb(f.enum[place::integer + 1]);
        END CASE;
        message := message || jsonb_build_object(f.json_name, v);
    END LOOP;
    FOR f IN SELECT * FROM terasocket.message_fields m WHERE m.type = message_type AND m.required LOOP
        IF coalesce(message ->> f.json_name, '') = '' THEN
            PERFORM terasocket.refuse('event', format('has no %s', f.json_name));
        END IF;
    END LOOP;
    RETURN message;
END $$;

-- decoded: a serialized message as ProtoJSON. Every field of these messages is a string, a list of strings or an enum.
CREATE FUNCTION terasocket.decoded(message_type text, event bytea) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    kinds    text[];         -- by field number; null: no such field
    number   bigint;
    pos      integer := 0;   -- of the next byte, from 0
    field    integer;
    wire     integer;
    fields   integer[] := '{}';
    texts    text[] := '{}'; -- of these fields, in order
BEGIN
    SELECT array_agg(m.kind ORDER BY n) INTO kinds
    FROM   generate_series(1, (SELECT max(m.no) FROM terasocket.message_fields m WHERE m.type = message_type)) n
    LEFT   JOIN terasocket.message_fields m ON m.type = message_type AND m.no = n;
    WHILE pos < octet_length(event) LOOP
        SELECT r.number, r.pos INTO number, pos FROM terasocket.varint(event, pos) r;
        field := least(number >> 3, 536870911);
        wire  := number & 7;
        IF kinds[field] IS NULL OR wire <> (CASE kinds[field] WHEN 'enum' THEN 0 ELSE 2 END) THEN
            PERFORM terasocket.refuse('event', format('is not a %s: field %s of wire type %s', message_type, field, wire));
        END IF;
        SELECT r.number, r.pos INTO number, pos FROM terasocket.varint(event, pos) r;
        fields := fields || field;
        IF wire = 0 THEN
            texts := texts || number::text;
        ELSE
            IF number > octet_length(event) - pos THEN
                PERFORM terasocket.refuse('event', format('is cut off in field %s', field));
            END IF;
            texts := texts || convert_from(substr(event, pos + 1, number::integer), 'UTF8');
            pos := pos + number::integer;
        END IF;
    END LOOP;
    RETURN (
        -- of a field that is there several times the last one counts, unless it is a list
        SELECT coalesce(jsonb_object_agg(m.json_name, CASE m.kind WHEN 'uuids' THEN v.items WHEN 'enum' THEN to_jsonb((v.items ->> -1)::bigint)
                                                                  ELSE v.items -> -1 END), '{}')
        FROM  (SELECT u.field, jsonb_agg(u.text ORDER BY u.ord) AS items
               FROM unnest(fields, texts) WITH ORDINALITY u (field, text, ord) GROUP BY u.field) v
        JOIN   terasocket.message_fields m ON m.type = message_type AND m.no = v.field);
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    PERFORM terasocket.refuse('event', format('has a text in field %s that is not UTF-8 or has a zero byte in it', field));
END $$;

-- varint: the number at this place (from 0), and the place behind it. 42 bits are enough for tags, lengths and enums.
CREATE FUNCTION terasocket.varint(bytes bytea, INOUT pos integer, OUT number bigint)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    shift integer := 0;
    byte  integer;
BEGIN
    number := 0;
    LOOP
        IF pos >= octet_length(bytes) THEN
            PERFORM terasocket.refuse('event', 'is cut off');
        ELSIF shift > 35 THEN
            PERFORM terasocket.refuse('event', 'is no protobuf message of these types: a number of more than 6 bytes');
        END IF;
        byte   := get_byte(bytes, pos);
        pos    := pos + 1;
        number := number | ((byte & 127)::bigint << shift);
        EXIT WHEN byte < 128;
        shift  := shift + 7;
    END LOOP;
END $$;

-- message_keys: who may hear a message of a service or of the user manager (OpenTera's sheet access-rules, section 5, with
-- the stricter rules of the design). One clause; nobody, where what it is about is unknown or deleted.
--   t:ID participant, d:ID device: themselves
CREATE FUNCTION terasocket.message_keys(message_type text, event jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    about  bigint;
    tags   text[] := '{}';
BEGIN
    CASE message_type
    WHEN 'opentera.protobuf.UserEvent' THEN
        SELECT terasocket.user_clause(u.id_user) INTO tags
        FROM   OPENTERA.t_users u WHERE u.user_uuid = lower(event ->> 'userUuid') AND u.deleted_at IS NULL;
    WHEN 'opentera.protobuf.ParticipantEvent' THEN
        SELECT ARRAY['p:' || p.id_project, 't:' || p.id_participant]
            || ARRAY(SELECT 'd:' || l.id_device
                     FROM   OPENTERA.t_devices_participants l JOIN OPENTERA.t_devices d ON d.id_device = l.id_device AND d.deleted_at IS NULL
                     WHERE  l.id_participant = p.id_participant AND l.deleted_at IS NULL)
        INTO   tags
        FROM   OPENTERA.t_participants p WHERE p.participant_uuid = lower(event ->> 'participantUuid') AND p.deleted_at IS NULL;
    WHEN 'opentera.protobuf.DeviceEvent' THEN
        SELECT terasocket.device_clause(d.id_device) || ARRAY['d:' || d.id_device]
            || ARRAY(SELECT 't:' || l.id_participant
                     FROM   OPENTERA.t_devices_participants l JOIN OPENTERA.t_participants p ON p.id_participant = l.id_participant AND p.deleted_at IS NULL
                     WHERE  l.id_device = d.id_device AND l.deleted_at IS NULL)
        INTO   tags
        FROM   OPENTERA.t_devices d WHERE d.device_uuid = lower(event ->> 'deviceUuid') AND d.deleted_at IS NULL;
    WHEN 'opentera.protobuf.JoinSessionEvent' THEN
        -- the message decides, not the database (= ANY of an array takes the index, IN of a query need not)
        tags := ARRAY(SELECT 'u:' || u.id_user FROM OPENTERA.t_users u
                      WHERE u.user_uuid = ANY (ARRAY(SELECT lower(jsonb_array_elements_text(event -> 'sessionUsers')))))
             || ARRAY(SELECT 't:' || p.id_participant FROM OPENTERA.t_participants p
                      WHERE p.participant_uuid = ANY (ARRAY(SELECT lower(jsonb_array_elements_text(event -> 'sessionParticipants')))))
             || ARRAY(SELECT 'd:' || d.id_device FROM OPENTERA.t_devices d
                      WHERE d.device_uuid = ANY (ARRAY(SELECT lower(jsonb_array_elements_text(event -> 'sessionDevices')))));
    WHEN 'opentera.protobuf.LeaveSessionEvent', 'opentera.protobuf.JoinSessionReplyEvent', 'opentera.protobuf.StopSessionEvent' THEN
        SELECT s.id_session INTO about
        FROM   OPENTERA.t_sessions s WHERE s.session_uuid = lower(event ->> 'sessionUuid') AND s.deleted_at IS NULL;
        -- members in the database; who replies does not hear its own reply
        tags := ARRAY(SELECT 'u:' || u.id_user
                      FROM OPENTERA.t_sessions_users l JOIN OPENTERA.t_users u ON u.id_user = l.id_user AND u.deleted_at IS NULL
                      WHERE l.id_session = about AND l.deleted_at IS NULL
                        AND (message_type <> 'opentera.protobuf.JoinSessionReplyEvent' OR u.user_uuid IS DISTINCT FROM lower(event ->> 'userUuid')))
             || ARRAY(SELECT 't:' || p.id_participant
                      FROM OPENTERA.t_sessions_participants l JOIN OPENTERA.t_participants p ON p.id_participant = l.id_participant AND p.deleted_at IS NULL
                      WHERE l.id_session = about AND l.deleted_at IS NULL
                        AND (message_type <> 'opentera.protobuf.JoinSessionReplyEvent' OR p.participant_uuid IS DISTINCT FROM lower(event ->> 'participantUuid')))
             || ARRAY(SELECT 'd:' || d.id_device
                      FROM OPENTERA.t_sessions_devices l JOIN OPENTERA.t_devices d ON d.id_device = l.id_device AND d.deleted_at IS NULL
                      WHERE l.id_session = about AND l.deleted_at IS NULL
                        AND (message_type <> 'opentera.protobuf.JoinSessionReplyEvent' OR d.device_uuid IS DISTINCT FROM lower(event ->> 'deviceUuid')));
        IF message_type = 'opentera.protobuf.StopSessionEvent' AND about IS NOT NULL THEN
            tags := tags || ARRAY(SELECT jsonb_array_elements_text(terasocket.visible('session', about) -> 0))
                         || ARRAY(SELECT jsonb_array_elements_text(terasocket.session_list_clause(about)));
        END IF;
    WHEN 'opentera.protobuf.ArchiveEvent' THEN
        tags := terasocket.owner_tags(event ->> 'ownerUuid');
    END CASE;
    RETURN jsonb_build_array(to_jsonb(coalesce(tags, '{}')));
END $$;

-- owner_tags: the tag of the user, participant or device with this UUID.
CREATE FUNCTION terasocket.owner_tags(uuid text, kinds text[] DEFAULT '{user,participant,device}') RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(SELECT 'u:' || u.id_user FROM OPENTERA.t_users u WHERE u.user_uuid = lower(uuid) AND u.deleted_at IS NULL AND 'user' = ANY (kinds))
        || ARRAY(SELECT 't:' || p.id_participant FROM OPENTERA.t_participants p WHERE p.participant_uuid = lower(uuid) AND p.deleted_at IS NULL AND 'participant' = ANY (kinds))
        || ARRAY(SELECT 'd:' || d.id_device FROM OPENTERA.t_devices d WHERE d.device_uuid = lower(uuid) AND d.deleted_at IS NULL AND 'device' = ANY (kinds))
$$;

-- record_message: writes a checked message to the log.
CREATE FUNCTION terasocket.record_message(topic text, message_type text, message jsonb, keys jsonb) RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO terasocket.events (topic, type, body, audience) VALUES (topic, message_type, message, keys) RETURNING seq
$$;

-- publish: see the head of this file. Returns the seq of the event. Errors name the argument (SQLSTATE 22023; 54000: too
-- big). A role that may publish needs USAGE on the schema and EXECUTE on this function, and nothing else; it may then
-- publish whatever a service may in OpenTera, kicks too.
CREATE FUNCTION terasocket.publish(topic text, event jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    message_type text := substring(event ->> '@type' FROM '^type\.googleapis\.com/(.*)$');
BEGIN
    IF event IS NOT NULL AND message_type IS NULL THEN
        PERFORM terasocket.refuse('event', 'has no "@type": "type.googleapis.com/opentera.protobuf...."');
    END IF;
    PERFORM terasocket.check_call(topic, coalesce(message_type, ''), octet_length(event::text));
    RETURN terasocket.publish_checked(topic, message_type, terasocket.checked(message_type, event));
END $$;

-- publish: the same with a serialized message; type is its full name, opentera.protobuf.StopSessionEvent for example.
CREATE FUNCTION terasocket.publish(topic text, type text, event bytea) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM terasocket.check_call(topic, type, octet_length(event));
    RETURN terasocket.publish_checked(topic, type, terasocket.checked(type, terasocket.decoded(type, event)));
END $$;

-- publish_checked: what a topic means.
CREATE FUNCTION terasocket.publish_checked(topic text, message_type text, message jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    direct  text[] := regexp_match(topic, '^websocket\.(user|participant|device)\.(.*)\.events$');
    command text   := substring(topic FROM '^module\.TeraServer\.TwistedModule\.events\.(.*)$');
    owner   text[];
BEGIN
    IF NOT terasocket.is_uuid(coalesce(direct[2], command, '00000000-0000-0000-0000-000000000000')) THEN
        PERFORM terasocket.refuse('topic', format('%L has no UUID in it', left(topic, 200)));
    ELSIF (message_type = 'opentera.protobuf.ServerCommand') <> (command IS NOT NULL) THEN
        PERFORM terasocket.refuse('topic', format('%L is not for %s', left(topic, 200), message_type));
    ELSIF command IS NOT NULL THEN
        IF message ->> 'type' IS DISTINCT FROM 'CMD_CLIENT_DISCONNECT' THEN
            PERFORM terasocket.refuse('event', 'is a command other than CMD_CLIENT_DISCONNECT');
        END IF;
        RETURN terasocket.kick(command);
    ELSIF direct IS NOT NULL THEN
        owner := terasocket.owner_tags(direct[2], direct[1:1]);
        IF owner = '{}' THEN
            PERFORM terasocket.refuse('topic', format('names a %s that does not exist: %s', direct[1], direct[2]));
        END IF;
        RETURN terasocket.record_message(format('websocket.%s.%s.events', direct[1], lower(direct[2])), message_type, message,
                   terasocket.message_keys(message_type, message) || jsonb_build_array(owner));
    ELSIF topic IN ('module.TeraServer.UserManagerModule.events', 'service.FileTransferService.events') THEN
        RETURN terasocket.record_message(topic, message_type, message, terasocket.message_keys(message_type, message));
    ELSIF topic = 'module.TeraServer.UserManagerModule.messages' THEN
        RETURN terasocket.manage(message_type, message);
    END IF;
    PERFORM terasocket.refuse('topic', format('%L is heard by no client', left(topic, 200)));
END $$;

-- kick: closes the sockets of a user, participant or device on whichever gateway holds them, with 4000. A command is
-- consumed by the gateways; no client hears it.
CREATE FUNCTION terasocket.kick(uuid text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    seq bigint;
BEGIN
    INSERT INTO terasocket.events (topic, type, object_type, object_id, body, audience)
    SELECT 'module.TeraServer.TwistedModule.events.' || lower(kick.uuid), 'opentera.protobuf.ServerCommand', o.kind, o.id,
           '{"type": "CMD_CLIENT_DISCONNECT"}', '[[]]'
    FROM  (SELECT 'user' AS kind, u.id_user AS id FROM OPENTERA.t_users u WHERE u.user_uuid = lower(kick.uuid)
           UNION ALL
           SELECT 'participant', p.id_participant FROM OPENTERA.t_participants p WHERE p.participant_uuid = lower(kick.uuid)
           UNION ALL
           SELECT 'device', d.id_device FROM OPENTERA.t_devices d WHERE d.device_uuid = lower(kick.uuid)) o
    RETURNING events.seq INTO seq;
    IF seq IS NULL THEN
        PERFORM terasocket.refuse('topic', format('names nobody: %s', left(kick.uuid, 100)));
    END IF;
    RETURN seq;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA terasocket FROM PUBLIC;
