-- Explain: whether a client may see an event, and why. For people.

-- explain: whether this client may see this event by its current roles, and why. event is null if the log does not hold it, client if
-- there is none (a deleted one is found). Never contains the event's body.
-- Whoever may execute it learns who has which role: grant it with care.
--   oldest, newest   the seqs that the log holds (null: none); last is the last one given out
--   may_see          it receives the event;   as_deleted: it receives a DB_DELETE instead
--   clauses          of those who receive the event;   former: of those who saw the object before (null: no DB_DELETE is sent)
CREATE OR REPLACE FUNCTION terasocket.explain(seq bigint, kind text, uuid text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    e       terasocket.events;
    c       record;
    place   smallint := array_position('{user,participant,device}', explain.kind);
    seen    bigint[];
BEGIN
    SELECT * INTO e FROM terasocket.events v WHERE v.seq = explain.seq;
    CASE explain.kind
    WHEN 'user' THEN
        SELECT u.id_user AS id, u.user_uuid::text AS uuid, concat_ws(' ', u.user_firstname, u.user_lastname) AS name, u.user_enabled AS is_enabled,
               u.deleted_at IS NOT NULL AS is_deleted, u.user_superadmin AS is_superadmin
        INTO   c FROM OPENTERA.t_users u WHERE u.user_uuid = lower(explain.uuid);
    WHEN 'participant' THEN
        SELECT p.id_participant AS id, p.participant_uuid::text AS uuid, p.participant_name::text AS name, p.participant_enabled AS is_enabled,
               p.deleted_at IS NOT NULL AS is_deleted, false AS is_superadmin
        INTO   c FROM OPENTERA.t_participants p WHERE p.participant_uuid = lower(explain.uuid);
    WHEN 'device' THEN
        SELECT d.id_device AS id, d.device_uuid::text AS uuid, d.device_name::text AS name, d.device_enabled AS is_enabled,
               d.deleted_at IS NOT NULL AS is_deleted, false AS is_superadmin
        INTO   c FROM OPENTERA.t_devices d WHERE d.device_uuid = lower(explain.uuid);
    ELSE
        RAISE invalid_parameter_value USING MESSAGE = format('kind is %L: it must be user, participant or device', explain.kind);
    END CASE;
    seen := ARRAY(SELECT a.ord FROM terasocket.audience(ARRAY[e.present::text, e.former::text]) a
                  WHERE a.kind = place AND c.id = ANY (a.ids));
    RETURN jsonb_build_object(
        'oldest', (SELECT min(v.seq) FROM terasocket.events v),
        'newest', (SELECT max(v.seq) FROM terasocket.events v),
        'last', (SELECT a.last_seq FROM terasocket.announcer a),
        'event', CASE WHEN e.seq IS NOT NULL THEN jsonb_build_object(
            'seq', e.seq, 'type', e.type, 'op', e.op, 'object_type', e.object_type, 'object_id', e.object_id, 'at', e.at, 'announcement', e.announcement) END,
        'client', CASE WHEN c.id IS NOT NULL THEN to_jsonb(c) || jsonb_build_object('kind', explain.kind,
            'roles', (SELECT coalesce(jsonb_agg(r.role ORDER BY r.scope, r.id, r.role), '[]') FROM terasocket.roles_of(c.id) r WHERE explain.kind = 'user'),
            -- of the socket that has been open longest
            'connected_since', (SELECT min(s.since) FROM terasocket.connections s WHERE s.kind = explain.kind AND s.principal = c.id)) END,
        'may_see', 1 = ANY (seen),
        'as_deleted', 2 = ANY (seen) AND NOT 1 = ANY (seen),
        'clauses', terasocket.explained(terasocket.resolved(e.present), explain.kind, c.uuid, c.id),
        'former', CASE WHEN e.former IS NOT NULL THEN terasocket.explained(terasocket.resolved(e.former), explain.kind, c.uuid, c.id) END);
END $$;
