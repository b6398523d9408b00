-- A user by the name that it logs in with; exact, and not of the deleted.
-- $1 user_username
-- Index: t_users_user_username_key
SELECT id_user, user_uuid, concat_ws(' ', user_firstname, user_lastname), user_password, user_enabled,
       user_force_password_change, user_2fa_enabled
FROM   t_users
WHERE  user_username = $1 AND deleted_at IS NULL
