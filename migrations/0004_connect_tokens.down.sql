DROP FUNCTION terasocket.redeem_connect_token(text, text);
DROP FUNCTION terasocket.create_connect_token(text, text);
DROP FUNCTION terasocket.principal(text, text);
DROP TABLE terasocket.connect_tokens;
