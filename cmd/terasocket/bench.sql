-- Users who see one project, as the demo's user :like does, and participants in it. Run before the migration, which then fills
-- told and holdings.
INSERT INTO t_users (id_user, user_username, user_uuid, user_firstname, user_lastname, user_password, user_enabled, user_profile, user_superadmin,
                     user_2fa_enabled, user_2fa_otp_enabled, user_2fa_email_enabled, user_force_password_change, version_id)
SELECT 1000000 + i, 'bench' || i, gen_random_uuid()::text, 'Bench', i::text, '', true, '{}', false, false, false, false, false, 1
FROM   generate_series(0, :users - 1) i;
INSERT INTO t_users_users_groups (id_user_user_group, id_user, id_user_group, version_id)
SELECT 1000000 + 10 * i + g.place, 1000000 + i, g.id_user_group, 1
FROM   generate_series(0, :users - 1) i,
       (SELECT id_user_group, row_number() OVER () AS place FROM t_users_users_groups WHERE id_user = :like AND deleted_at IS NULL) g;
INSERT INTO t_participants (id_participant, participant_uuid, participant_name, participant_username, participant_token_enabled, participant_enabled,
                            participant_login_enabled, id_project, version_id)
SELECT 1000000 + i, gen_random_uuid()::text, 'Bench', 'bench' || i, false, true, false, 1, 1
FROM   generate_series(0, 999) i;
ANALYZE;
