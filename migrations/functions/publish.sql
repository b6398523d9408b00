-- Publishing: what a service wants clients to hear, in the service's own transaction.
--
--   SELECT terasocket.publish('websocket.user.<uuid>.events',
--                             '{"@type": "type.googleapis.com/opentera.protobuf.StopSessionEvent", "sessionUuid": "..."}')
--
-- Topics mean what they mean in OpenTera (sheet websocket, section 4). Whatever the topic, the rules decide who hears: a
-- direct topic only narrows that down to one socket owner. The message is captured like any change, and announced in the
-- order of its transaction; it is never merged with another.

-- refuse: an error that names the argument and says what it must be. SQLSTATE 22023, 54000 for an event that is too big.
CREATE OR REPLACE FUNCTION terasocket.refuse(argument text, problem text, state text DEFAULT '22023') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = format('publish: %s %s', argument, problem);
END $$;

-- is_uuid: 8-4-4-4-12 hexadecimal digits.
CREATE OR REPLACE FUNCTION terasocket.is_uuid(s text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT s ~ '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$'
$$;

-- check_call: what must hold before an event of that many bytes is looked at. The limit is the setting
-- terasocket.max_event_bytes (ALTER DATABASE ... SET), 256 KiB unless set and never more than 16 MiB. It guards against
-- mistakes: a session can set it for itself.
CREATE OR REPLACE FUNCTION terasocket.check_call(topic text, message_type text, size integer) RETURNS void
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
    ELSIF NOT EXISTS (SELECT FROM terasocket.message_fields() m WHERE m.type = message_type) THEN
        PERFORM terasocket.refuse('type', format('%L is not of a message that clients hear', left(message_type, 100)));
    END IF;
END $$;

-- checked: the message as ProtoJSON with OpenTera's own keys, enum values by name, null left out. Keys may be spelled as
-- in the .proto file, enum values as numbers. Refused is whatever would not arrive as it was published: a key or a
-- value that OpenTera's message has not, a UUID that is malformed.
CREATE OR REPLACE FUNCTION terasocket.checked(message_type text, event jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    f       record;
    k       text;
    v       jsonb;
    place   numeric;
    message jsonb := '{}';
BEGIN
    IF jsonb_typeof(event) IS DISTINCT FROM 'object' THEN
        PERFORM terasocket.refuse('event', 'is not a JSON object');
    END IF;
    FOR k, v IN SELECT * FROM jsonb_each(event - '@type') LOOP
        SELECT * INTO f FROM terasocket.message_fields() m WHERE m.type = message_type AND k IN (m.name, m.json_name);
        IF NOT FOUND THEN
            PERFORM terasocket.refuse('event', format('has a key %L: %s has none of that name', left(k, 100), message_type));
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
                PERFORM terasocket.refuse('event', format('has a %s that must be one of %s', k, array_to_string(f.enum, ', ')));
            END IF;
            v := to_jsonb(f.enum[place::integer + 1]);
        END CASE;
        message := message || jsonb_build_object(f.json_name, v);
    END LOOP;
    FOR f IN SELECT * FROM terasocket.message_fields() m WHERE m.type = message_type AND m.required LOOP
        IF coalesce(message ->> f.json_name, '') = '' THEN
            PERFORM terasocket.refuse('event', format('has no %s', f.json_name));
        END IF;
    END LOOP;
    RETURN message;
END $$;

-- owner_tags: the tag of the user, participant or device with this UUID. (plpgsql keeps its plans; a function in SQL plans each time.)
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

-- record_message: captures a checked message. owner: the only one to hear it (null: everybody that the rules say). members: the
-- tags of those that it is for, as they are now: whoever is taken out of a session later was a member when it was published.
CREATE OR REPLACE FUNCTION terasocket.record_message(topic text, message_type text, message jsonb, owner text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM terasocket.record('message', 'M', false, NULL, jsonb_build_object('topic', topic, 'type', message_type, 'message', message,
        'members', to_jsonb(terasocket.message_members(message_type, message)), 'owner', to_jsonb(owner)));
END $$;

-- publish: see the head of this file. Errors name the argument (SQLSTATE 22023; 54000: too big). A role that may publish needs
-- USAGE on the schema and EXECUTE on this function, and nothing else; it may then publish whatever a service may in OpenTera,
-- kicks too.
CREATE OR REPLACE FUNCTION terasocket.publish(topic text, event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    PERFORM terasocket.publish_one(topic, event);
END $$;

-- publish_one: the same within a function of ours, whose settings hold.
CREATE OR REPLACE FUNCTION terasocket.publish_one(topic text, event jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    message_type text := substring(event ->> '@type' FROM '^type[.]googleapis[.]com/(.*)$');
BEGIN
    IF event IS NOT NULL AND message_type IS NULL THEN
        PERFORM terasocket.refuse('event', 'has no "@type": "type.googleapis.com/opentera.protobuf...."');
    END IF;
    PERFORM terasocket.check_call(topic, coalesce(message_type, ''), octet_length(event::text));
    PERFORM terasocket.publish_checked(topic, message_type, terasocket.checked(message_type, event));
END $$;

-- publish_checked: what a topic means.
CREATE OR REPLACE FUNCTION terasocket.publish_checked(topic text, message_type text, message jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    direct  text[] := regexp_match(topic, '^websocket[.](user|participant|device)[.](.*)[.]events$');
    command text   := substring(topic FROM '^module[.]TeraServer[.]TwistedModule[.]events[.](.*)$');
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
        PERFORM terasocket.kick(command);
    ELSIF direct IS NOT NULL THEN
        owner := terasocket.owner_tags(direct[2], direct[1:1]);
        IF owner = '{}' THEN
            PERFORM terasocket.refuse('topic', format('names a %s that does not exist: %s', direct[1], direct[2]));
        END IF;
        PERFORM terasocket.record_message(format('websocket.%s.%s.events', direct[1], lower(direct[2])), message_type, message, owner);
    ELSIF topic IN ('module.TeraServer.UserManagerModule.events', 'service.FileTransferService.events') THEN
        PERFORM terasocket.record_message(topic, message_type, message);
    ELSIF topic = 'module.TeraServer.UserManagerModule.messages' THEN
        PERFORM terasocket.manage(message_type, message);
    ELSE
        PERFORM terasocket.refuse('topic', format('%L is heard by no client', left(topic, 200)));
    END IF;
END $$;

-- kick: closes the sockets of a user, participant or device on whichever gateway holds them, with 4000, and takes back the
-- connect tokens that it has not used. Sockets of tokens that are minted later stay. Each kick takes a counter of its own, before
-- its time is taken: of two kicks the later one has the higher counter.
CREATE OR REPLACE FUNCTION terasocket.kick(uuid text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    who  record;
    upto bigint;
BEGIN
    SELECT * INTO who
    FROM  (SELECT 'user' AS kind, u.id_user AS id FROM OPENTERA.t_users u WHERE u.user_uuid = lower(kick.uuid)
           UNION ALL
           SELECT 'participant', p.id_participant FROM OPENTERA.t_participants p WHERE p.participant_uuid = lower(kick.uuid)
           UNION ALL
           SELECT 'device', d.id_device FROM OPENTERA.t_devices d WHERE d.device_uuid = lower(kick.uuid)) o LIMIT 1;
    IF NOT FOUND THEN
        PERFORM terasocket.refuse('topic', format('names nobody: %s', left(kick.uuid, 100)));
    END IF;
    DELETE FROM terasocket.connect_tokens t WHERE t.kind = who.kind AND t.uuid = lower(kick.uuid);
    upto := nextval('terasocket.connect_tokens_counter');
    INSERT INTO terasocket.kicked (kind, principal, counter) VALUES (who.kind, who.id, upto);
    PERFORM terasocket.record('kick', 'M', false, NULL, jsonb_build_object('kind', who.kind, 'id', who.id, 'token', upto));
END $$;
