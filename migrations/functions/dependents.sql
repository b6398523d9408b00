-- Dependents: which keys depend on which objects. When the keys of one object change, those of its dependents are computed again in the
-- same announcement, silently: only what changed itself, or a link of it, is announced.
--
--   a role             -> the groups that hold it
--   a project          -> the groups that reach it
--   a group            -> its users (members of it now or before)
--   a user             -> invitations of it, and of sessions that it created
--   a participant      -> sessions that it created or is a member of, invitations of it
--   a device           -> invitations of it, and of sessions that it created or is a member of
--   a session          -> its assets, tests and invitations
--   a test type        -> its tests
-- Services, session types and test types enter keys by their alias: the keys of what is seen through them do not change.

-- dependents: (type, id) of the objects seen through these.
CREATE OR REPLACE FUNCTION terasocket.dependents(object_type text, ids bigint[]) RETURNS TABLE (type text, id bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    CASE dependents.object_type
    WHEN 'role' THEN
        RETURN QUERY SELECT 'user_group', g FROM unnest(terasocket.groups_of_roles(ids, '{}', '{}')) g;
    WHEN 'project' THEN
        RETURN QUERY
        SELECT 'user_group', g FROM unnest(terasocket.groups_of_roles('{}', ids,
            ARRAY(SELECT p.id_site::bigint FROM OPENTERA.t_projects p WHERE p.id_project = ANY (ids)))) g
        UNION
        SELECT 'user_group', t.id FROM terasocket.told t
        WHERE  t.object_type = 'user_group' AND t.keys -> 0 ?| ARRAY(SELECT 'p:' || i FROM unnest(ids) i);
    WHEN 'user_group' THEN
        RETURN QUERY SELECT 'user', u::bigint FROM unnest(terasocket.members(ids)) u;
    WHEN 'user' THEN
        RETURN QUERY SELECT 'test_invitation', i FROM terasocket.invitations('user', ids) i;
    WHEN 'participant' THEN
        RETURN QUERY
        SELECT 'session', s.id_session::bigint FROM OPENTERA.t_sessions s WHERE s.id_creator_participant = ANY (ids)
        UNION
        SELECT 'session', l.id_session FROM OPENTERA.t_sessions_participants l WHERE l.id_participant = ANY (ids)
        UNION
        SELECT 'test_invitation', i FROM terasocket.invitations('participant', ids) i;
    WHEN 'device' THEN
        RETURN QUERY SELECT 'test_invitation', i FROM terasocket.invitations('device', ids) i;
    WHEN 'session' THEN
        RETURN QUERY
        SELECT 'asset', a.id_asset::bigint FROM OPENTERA.t_assets a WHERE a.id_session = ANY (ids)
        UNION ALL
        SELECT 'test', t.id_test FROM OPENTERA.t_tests t WHERE t.id_session = ANY (ids)
        UNION ALL
        SELECT 'test_invitation', i FROM terasocket.invitations('session', ids) i;
    WHEN 'session list' THEN   -- only the list rule: a device of it, or its creator
        RETURN QUERY SELECT 'test_invitation', i FROM terasocket.invitations('session', ids) i;
    WHEN 'test_type' THEN
        RETURN QUERY SELECT 'test', t.id_test::bigint FROM OPENTERA.t_tests t WHERE t.id_test_type = ANY (ids);
    ELSE
        NULL;
    END CASE;
END $$;

-- invitations: of these users, participants or devices and of the sessions that involve them, or of these sessions. OpenTera before 1.3
-- has no table of invitations.
CREATE OR REPLACE FUNCTION terasocket.invitations("of" text, ids bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF to_regclass('OPENTERA.t_tests_invitations') IS NULL THEN
        RETURN;
    END IF;
    CASE "of"
    WHEN 'user' THEN
        RETURN QUERY
        SELECT i.id_test_invitation::bigint FROM OPENTERA.t_tests_invitations i WHERE i.id_user = ANY (ids)
        UNION
        SELECT i.id_test_invitation FROM OPENTERA.t_tests_invitations i
        JOIN   OPENTERA.t_sessions s ON s.id_session = i.id_session WHERE s.id_creator_user = ANY (ids);
    WHEN 'participant' THEN
        RETURN QUERY SELECT i.id_test_invitation::bigint FROM OPENTERA.t_tests_invitations i WHERE i.id_participant = ANY (ids);
    WHEN 'device' THEN
        RETURN QUERY
        SELECT i.id_test_invitation::bigint FROM OPENTERA.t_tests_invitations i WHERE i.id_device = ANY (ids)
        UNION
        SELECT i.id_test_invitation FROM OPENTERA.t_tests_invitations i
        JOIN   OPENTERA.t_sessions s ON s.id_session = i.id_session WHERE s.id_creator_device = ANY (ids)
        UNION
        SELECT i.id_test_invitation FROM OPENTERA.t_tests_invitations i
        JOIN   OPENTERA.t_sessions_devices l ON l.id_session = i.id_session WHERE l.id_device = ANY (ids);
    WHEN 'session' THEN
        RETURN QUERY SELECT i.id_test_invitation::bigint FROM OPENTERA.t_tests_invitations i WHERE i.id_session = ANY (ids);
    END CASE;
END $$;
