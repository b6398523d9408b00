package main

// head opens demo.sql.
const head = `-- terasocket's demo data: a small made-up OpenTera installation, for the schema
-- of schema.sql. Written by gendemo; change that and run "go generate ./db/opentera".
-- All people are invented. For throw-away databases only: the passwords are public.
--
-- Password of every user, and of every participant that has a login: terasocket-demo
--
-- Users to log in as (40 in all):
--   admin              superadmin
--   claire.site        site admin of site 1, so admin of its projects 1, 2, 3
--   louis.site         site admin of site 2 (projects 4, 5, 6)
--   simon.siteuser     site user of site 1: sees the site, no project
--   paul.project       project admin of project 1
--   patricia.project   project admin of project 4, project user of project 5
--   ursula.user        project user of project 1
--   ulysse.user        project user of project 5
--   maria.manager      "manager" of VideoRehabService on project 2, no OpenTera role
--   victor.videorehab  "admin" of VideoRehabService on site 3, no OpenTera role
--   nora.norole        no role at all
--   otto.otp           project user of project 1; 2FA by OTP, secret JBSWY3DPEHPK3PXP
--   fatou.force        project user of 7, admin of 8; must change the password
--   didier.disabled    disabled
--   gaston.gone        soft-deleted
-- Participants to log in as:
--   lucie.patient      id 1, project 1; also by static token
--   rene.patient       id 61, project 4; also by static token
--   denise.disabled    id 3, project 1, disabled
--
-- 3 sites, 8 projects, 5 services, 40 users in 12 user groups, 120 participants,
-- 30 devices and 60 sessions are alive; soft-deleted rows come on top. Dates of
-- sessions, tests and invitations follow the day on which the file is loaded.
-- Keys in t_server_settings sign the static tokens of t_participants and t_devices.

BEGIN;
`
