DROP TABLE terasocket.otp_steps, terasocket.login_sessions, terasocket.address_failures, terasocket.login_attempts,
    terasocket.disabled_tokens, terasocket.signing_keys, terasocket.connect_tokens;
DROP SEQUENCE terasocket.connect_tokens_counter;
