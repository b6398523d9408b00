-- The fields of the messages that a service may publish (OpenTera's message dictionary).
CREATE OR REPLACE FUNCTION terasocket.message_fields()
RETURNS TABLE (type text, no integer, name text, json_name text, kind text, required boolean, enum text[])
LANGUAGE sql IMMUTABLE AS $$
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
) f (type, no, name, kind, required, enum)
$$;
