-- Publishing: events that a service sends to clients, in the service's own transaction.
--
--   SELECT terasocket.publish('websocket.user.<uuid>.events',
--                             '{"@type": "type.googleapis.com/opentera.protobuf.StopSessionEvent", "sessionUuid": "..."}')
--
-- Topics mean what they mean in OpenTera (sheet websocket, section 4). Whatever the topic, the rules decide who receives the event: a
-- direct topic only narrows that down to one socket owner. The message is captured like any change, and announced in the order of its
-- transaction; it is never merged with another.

-- refuse: raises an error that names the argument and says what it must be. SQLSTATE 22023.
CREATE OR REPLACE FUNCTION terasocket.refuse(argument text, problem text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE invalid_parameter_value USING MESSAGE = format('publish: %s %s', argument, problem);
END $$;

-- is_uuid: 8-4-4-4-12 hexadecimal digits.
CREATE OR REPLACE FUNCTION terasocket.is_uuid(s text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT s ~ '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$'
$$;

-- judged: the verdict on each event, in the order given, by one statement for all. problem: why it is refused; state: its SQLSTATE. body:
-- what record_messages() takes; null for what is addressed to the user manager (manage()) and for a command (kick(), whom).
--
-- message: the event as ProtoJSON with OpenTera's own keys, enum values by name, without nulls. Keys may be spelled as in the .proto
-- file, enum values as numbers. Anything that would not arrive as it was published is refused: a key or a value that OpenTera's message
-- lacks, a malformed UUID. So is an event of more bytes than the setting terasocket.max_event_bytes (ALTER DATABASE ... SET), 256 KiB
-- unless set and never more than 16 MiB. It guards against mistakes: a session can set it for itself.
CREATE OR REPLACE FUNCTION terasocket.judged(topics text[], events jsonb[])
RETURNS TABLE (n integer, state text, problem text, type text, message jsonb, whom text, body jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$   -- few UUIDs are looked up
#variable_conflict use_column
DECLARE
    setting  text := coalesce(nullif(current_setting('terasocket.max_event_bytes', true), ''), '262144');
    most     integer := CASE WHEN setting ~ '^[0-9]{1,9}$' THEN least(setting::integer, 16777216) END;
BEGIN
    RETURN QUERY
    WITH given AS MATERIALIZED (   -- (a regular expression with captures would cost more than everything else)
        SELECT g.n, g.topic, g.event, s.size, k.kind,
               CASE WHEN s.size <= most AND starts_with(g.event ->> '@type', 'type.googleapis.com/') THEN substr(g.event ->> '@type', 21) END AS type,   -- null: no further checks
               CASE WHEN k.kind IS NOT NULL THEN left(substr(g.topic, 12 + length(k.kind)), -7) END AS owner_uuid,
               CASE WHEN starts_with(g.topic, 'module.TeraServer.TwistedModule.events.') THEN substr(g.topic, 40) END AS whom
        FROM   unnest(topics, events) WITH ORDINALITY g (topic, event, n),
               LATERAL (SELECT octet_length(g.event::text) OFFSET 0) s (size),
               LATERAL (SELECT CASE WHEN g.topic LIKE 'websocket.user.%.events' THEN 'user' WHEN g.topic LIKE 'websocket.participant.%.events' THEN 'participant'
                                    WHEN g.topic LIKE 'websocket.device.%.events' THEN 'device' END) k (kind)
    ), fields AS MATERIALIZED (
        SELECT g.n, f.name, f.json_name, f.kind, f.required, f.enum, CASE WHEN g.event ? f.json_name THEN f.json_name ELSE f.name END AS key, v.value,
               g.event ?& ARRAY[f.name, f.json_name] AND f.name <> f.json_name AS is_twice,
               CASE WHEN f.kind <> 'enum' OR v.value = 'null' THEN v.value
                    WHEN jsonb_typeof(v.value) = 'number' THEN CASE WHEN v.value::numeric BETWEEN 0 AND 1000 AND v.value::numeric % 1 = 0 THEN f.enum -> v.value::integer END
                    WHEN jsonb_typeof(v.value) = 'string' AND f.enum ? (v.value #>> '{}') THEN v.value END AS said   -- null: not a value of the enum
        FROM   given g, jsonb_array_elements(terasocket.message_fields() -> g.type) e (field),
               LATERAL (SELECT e.field ->> 0, e.field ->> 1, e.field ->> 2, e.field -> 3 = 'true', e.field -> 4 OFFSET 0) f (name, json_name, kind, required, enum),
               LATERAL (SELECT coalesce(g.event -> f.json_name, g.event -> f.name)) v (value)
    ), checked AS (
        SELECT f.n, array_agg(f.name) || array_agg(f.json_name) || '@type'::text AS keys,
               coalesce(jsonb_object_agg(f.json_name, f.said) FILTER (WHERE f.said <> 'null'), '{}') AS message,
               min(CASE WHEN f.is_twice THEN format('has %s and %s, which are the same', f.name, f.json_name)
                        WHEN f.value IS NULL OR f.value = 'null' THEN CASE WHEN f.required THEN format('has no %s', f.json_name) END
                        WHEN f.said IS NULL THEN format('has a %s that must be one of %s', f.key, (SELECT string_agg(x, ', ') FROM jsonb_array_elements_text(f.enum) x))
                        WHEN f.kind = 'enum' THEN NULL
                        WHEN f.kind = 'uuids' THEN
                            CASE WHEN jsonb_typeof(f.value) <> 'array' THEN format('has a %s that is not an array', f.key)
                                 WHEN EXISTS (SELECT FROM jsonb_array_elements(f.value) item WHERE jsonb_typeof(item) <> 'string' OR NOT terasocket.is_uuid(item #>> '{}'))
                                     THEN format('has a %s with something in it that is not a UUID', f.key) END
                        WHEN jsonb_typeof(f.value) <> 'string' THEN format('has a %s that is not a string', f.key)
                        WHEN f.required AND f.value = '""' THEN format('has no %s', f.json_name)
                        WHEN f.kind = 'uuid' AND f.value <> '""' AND NOT terasocket.is_uuid(f.value #>> '{}') THEN format('has a %s that is not a UUID', f.key) END) AS problem
        FROM   fields f GROUP BY f.n
    ), judged AS MATERIALIZED (
        SELECT g.*, c.message, coalesce('u:' || u.id_user, 't:' || p.id_participant, 'd:' || d.id_device) AS owner,
               CASE WHEN g.topic IS NULL THEN 'topic is null'
                    WHEN g.event IS NULL THEN 'event is null'
                    WHEN most IS NULL THEN format('setting terasocket.max_event_bytes is %L, not a number of bytes', left(setting, 100))
                    WHEN g.size > most THEN format('event is of %s bytes, more than %s (terasocket.max_event_bytes)', g.size, most)
                    WHEN g.type IS NULL THEN 'event has no "@type": "type.googleapis.com/opentera.protobuf...."'
                    WHEN c.n IS NULL THEN format('type %L is not of a message that clients hear', left(g.type, 100))
                    WHEN g.event - c.keys <> '{}' THEN format('event has a key %L: %s has none of that name',
                        left((SELECT min(k) FROM jsonb_object_keys(g.event - c.keys) k), 100), g.type)
                    WHEN c.problem IS NOT NULL THEN 'event ' || c.problem
                    WHEN NOT terasocket.is_uuid(coalesce(g.owner_uuid, g.whom, '00000000-0000-0000-0000-000000000000')) THEN
                        format('topic %L has no UUID in it', left(g.topic, 200))
                    WHEN (g.type = 'opentera.protobuf.ServerCommand') <> (g.whom IS NOT NULL) THEN format('topic %L is not for %s', left(g.topic, 200), g.type)
                    WHEN g.whom IS NOT NULL THEN
                        CASE WHEN c.message ->> 'type' IS DISTINCT FROM 'CMD_CLIENT_DISCONNECT' THEN 'event is a command other than CMD_CLIENT_DISCONNECT' END
                    WHEN g.kind IS NOT NULL THEN
                        CASE WHEN coalesce(u.id_user, p.id_participant, d.id_device) IS NULL THEN
                            format('topic names a %s that does not exist: %s', g.kind, g.owner_uuid) END
                    WHEN g.topic = 'module.TeraServer.UserManagerModule.messages' THEN
                        CASE WHEN g.type NOT LIKE '%Session%' THEN format('event is a %s, which the user manager does not take', g.type) END
                    WHEN g.topic NOT IN ('module.TeraServer.UserManagerModule.events', 'service.FileTransferService.events') THEN
                        format('topic %L is heard by no client', left(g.topic, 200)) END AS problem
        FROM   given g
        LEFT   JOIN checked c ON c.n = g.n
        LEFT   JOIN OPENTERA.t_users u        ON g.kind = 'user' AND u.user_uuid = lower(g.owner_uuid) AND u.deleted_at IS NULL
        LEFT   JOIN OPENTERA.t_participants p ON g.kind = 'participant' AND p.participant_uuid = lower(g.owner_uuid) AND p.deleted_at IS NULL
        LEFT   JOIN OPENTERA.t_devices d      ON g.kind = 'device' AND d.device_uuid = lower(g.owner_uuid) AND d.deleted_at IS NULL
    )
    SELECT j.n::integer, CASE WHEN j.size > most THEN '54000' ELSE '22023' END, j.problem, j.type, j.message, j.whom,
           CASE WHEN j.problem IS NULL AND j.whom IS NULL AND j.topic <> 'module.TeraServer.UserManagerModule.messages' THEN
               terasocket.message_body(CASE WHEN j.kind IS NULL THEN j.topic ELSE lower(j.topic) END, j.type, j.message, j.owner) END
    FROM   judged j
    ORDER  BY j.n;
END $$;

-- message_body: what is recorded for a message. owner: the tag of its only recipient (null: everybody that the rules allow). members: the
-- tags of those whom it addresses, as of now: somebody removed from the session later was a member when it was published.
CREATE OR REPLACE FUNCTION terasocket.message_body(topic text, message_type text, message jsonb, owner text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('topic', topic, 'type', message_type, 'message', message, 'members', terasocket.message_members(message_type, message),
                              'owner', CASE WHEN owner IS NOT NULL THEN jsonb_build_array(owner) END)
$$;

-- record_messages: captures messages, in order.
CREATE OR REPLACE FUNCTION terasocket.record_messages(bodies jsonb[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF bodies <> '{}' THEN
        INSERT INTO terasocket.changes (what, op, body)
        SELECT 'message', 'M', b.body FROM unnest(bodies) WITH ORDINALITY b (body, n) ORDER BY b.n;
        PERFORM terasocket.hint('message', 'M', NULL);
    END IF;
END $$;

-- publish_all: publishes all events that are not refused, in order. Returns for each refused one its number, from 1, the SQLSTATE and the
-- reason.
CREATE OR REPLACE FUNCTION terasocket.publish_all(topics text[], events jsonb[]) RETURNS TABLE (n integer, state text, problem text)
LANGUAGE plpgsql AS $$
DECLARE
    j       record;
    bodies  jsonb[] := '{}';
BEGIN
    FOR j IN SELECT * FROM terasocket.judged(topics, events) LOOP
        IF j.problem IS NOT NULL THEN
            n := j.n; state := j.state; problem := j.problem;
            RETURN NEXT;
        ELSIF j.body IS NOT NULL THEN
            bodies := bodies || j.body;
        ELSE
            PERFORM terasocket.record_messages(bodies);
            bodies := '{}';
            IF j.whom IS NOT NULL THEN
                PERFORM terasocket.kick(j.whom);
            ELSE
                PERFORM terasocket.manage(j.type, j.message);
            END IF;
        END IF;
    END LOOP;
    PERFORM terasocket.record_messages(bodies);
END $$;

-- publish: see the head of this file. Errors name the argument (SQLSTATE 22023; 54000: too big). A publishing role needs USAGE on the
-- schema and EXECUTE on this function, and nothing else; it may then publish whatever a service may in OpenTera, including kicks.
CREATE OR REPLACE FUNCTION terasocket.publish(topic text, event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    refused record;
BEGIN
    SELECT * INTO refused FROM terasocket.publish_all(ARRAY[topic], ARRAY[event]);
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = refused.state, MESSAGE = 'publish: ' || refused.problem;
    END IF;
END $$;

-- kick: closes the sockets of a user, participant or device on all gateways, with 4000, and revokes its unused connect tokens. Sockets of
-- tokens minted later stay. Each kick takes a counter of its own before it takes its time: of two kicks the later one has the higher
-- counter.
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
