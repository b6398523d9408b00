// The page's texts, in English and French.
const words = {
  well: ['Is it well?', 'Tout va bien ?'], well_short: ['Well?', 'État'],
  people: ['Who is here?', 'Qui est là ?'], people_short: ['Who?', 'Présents'],
  log: ['Why did she not get this event?', 'Pourquoi n’a-t-elle pas reçu cet événement ?'], log_short: ['Why not?', 'Pourquoi ?'],
  client: ['As a client', 'Comme un client'], client_short: ['Client', 'Client'],
  views: ['Views', 'Vues'], language: ['Français', 'English'], theme: ['Dark or light', 'Sombre ou clair'], help: ['Keyboard', 'Clavier'],
  help_views: ['the four views', 'les quatre vues'], help_search: ['search', 'chercher'], help_rows: ['from row to row', 'de ligne en ligne'],
  help_open: ['open', 'ouvrir'], help_close: ['close', 'fermer'], help_theme: ['dark or light', 'sombre ou clair'], help_language: ['language', 'langue'],
  help_pause: ['pause the client’s view', 'suspendre la vue du client'], help_help: ['this help', 'cette aide'], key_space: ['space', 'espace'],
  cancel: ['Cancel', 'Annuler'], close: ['Close', 'Fermer'], of_gateway: ['gateway {name}, {version}', 'passerelle {name}, {version}'],

  enter: ['The console’s password', 'Mot de passe de la console'], enter_do: ['Enter', 'Entrer'], password: ['Password', 'Mot de passe'], leave: ['Leave', 'Quitter'],
  sign_in: ['Sign in', 'Se connecter'], sign_out: ['Sign out', 'Se déconnecter'], sign_in_opentera: ['Sign in at OpenTera', 'Se connecter à OpenTera'],
  sign_in_why: ['You may do here what OpenTera allows you to do. It is recorded.', 'Vous pouvez faire ici ce qu’OpenTera vous permet. Ce sera consigné.'],
  signed_in: ['Signed in as {name}', 'Connecté : {name}'], username: ['Username', 'Nom d’utilisateur'], service_token: ['Token of the service', 'Jeton du service'], as_who: ['As', 'En tant que'],
  second_step: ['Second step', 'Deuxième étape'], code: ['Code of your authenticator', 'Code de votre application'],
  kind_user: ['User', 'Utilisateur'], kind_participant: ['Participant', 'Participant'], kind_device: ['Device', 'Appareil'], kind_service: ['Service', 'Service'],
  kinds_user: ['Users', 'Utilisateurs'], kinds_participant: ['Participants', 'Participants'], kinds_device: ['Devices', 'Appareils'],

  error_unreachable: ['The gateway does not answer.', 'La passerelle ne répond pas.'], error_database: ['The database does not answer. See “Is it well?”.', 'La base de données ne répond pas. Voir « Tout va bien ? ».'],
  error_wrong_password: ['Wrong password.', 'Mauvais mot de passe.'], error_too_many: ['Too many wrong passwords from this address: wait a little.', 'Trop de mauvais mots de passe de cette adresse : attendez un peu.'],
  error_credentials: ['Wrong name, password or token.', 'Mauvais nom, mot de passe ou jeton.'], error_sign_in: ['Sign in again: this is for superadmins of OpenTera.', 'Reconnectez-vous : c’est réservé aux superadministrateurs d’OpenTera.'],
  error_superadmin: ['This is for superadmins of OpenTera, and for events that the log still holds.', 'C’est réservé aux superadministrateurs d’OpenTera, et aux événements que le journal contient encore.'],
  error_step_password_change: ['OpenTera requires a new password first: sign in there.', 'OpenTera demande d’abord un autre mot de passe : connectez-vous là-bas.'],
  error_step_2fa_setup: ['Two-factor authentication must be set up first: sign in at OpenTera.', 'L’authentification à deux facteurs est à configurer d’abord : connectez-vous à OpenTera.'],
  error_unknown_person: ['Nobody has this UUID any more.', 'Il n’y a plus personne avec cet UUID.'],

  all_well: ['All is well', 'Tout va bien'], look: ['Look at this', 'À regarder'], well_remarks: ['All is well, with remarks', 'Tout va bien, avec des remarques'], not_well: ['Something is wrong', 'Quelque chose ne va pas'], examining: ['Examining …', 'Examen en cours…'],
  remarks: ['Doctor’s remarks: {n}', 'Remarques du médecin : {n}'],
  taking: ['Accepting clients', 'Les clients entrent'], not_taking: ['Not accepting clients: {why}', 'Aucun client n’entre : {why}'], degraded: ['Degraded: {what}', 'Ne fonctionne pas : {what}'],
  sockets: ['Sockets', 'Connexions'], deliveries: ['Deliveries', 'Livraisons'], events_in: ['Events in', 'Événements reçus'], per_second: ['per second', 'par seconde'],
  from_commit: ['From commit to write', 'De la validation à l’envoi'], half_within: ['median', 'la moitié en'], nothing_yet: ['nothing written yet', 'rien n’a encore été envoyé'], slowest: ['99 % within {ms}', '99 sur 100 en {ms}'],
  event_log: ['Event log', 'Journal'], rows: ['{n} events', '{n} événements'], reaches: ['reaches back {age}', 'remonte à {age}'], database_silent: ['the database does not answer', 'la base de données ne le dit pas'],
  listener: ['Listener', 'Écoute'], up: ['Up', 'Active'], down: ['Down', 'Rompue'], lag: ['{s} behind', '{s} de retard'], no_lag: ['nothing waiting', 'rien n’attend'], waiting: ['{n} changes waiting', '{n} changements attendent'],
  plot_sockets: ['Sockets by kind', 'Connexions par type'], plot_rates: ['In and out per second', 'Reçus et livrés, par seconde'], plot_latency: ['Commit to write, ms', 'De la validation à l’envoi, ms'],
  plot_log: ['Event log', 'Journal'], events: ['Events', 'Événements'], age_min: ['Age, min', 'Âge, min'],
  gateways: ['Gateways', 'Passerelles'], gateway: ['Gateway', 'Passerelle'], since: ['Since', 'Depuis'], lease: ['Lease', 'Bail'], lease_left: ['{s} left', 'encore {s}'], lease_over: ['expired {s} ago', 'échu depuis {s}'], this_one: ['this one', 'celle-ci'],
  doctor: ['The doctor’s findings', 'Ce que dit le médecin'], examine: ['Examine again', 'Réexaminer'], examined: ['examined {when}', 'examiné {when}'], right: ['{n} checks passed', '{n} vérifications sont bonnes'], skipped: ['{n} skipped', '{n} n’ont pas été faites'],
  status_ok: ['ok', 'bon'], status_warn: ['warning', 'à voir'], status_FAIL: ['failed', 'mauvais'], status_skip: ['skipped', 'omis'], todo: ['What to do', 'Que faire'],

  search_people: ['Search by name', 'Chercher par nom'], any_site: ['All sites', 'Tous les sites'], any_project: ['All projects', 'Tous les projets'], busy_only: ['In a session', 'En séance'], everybody: ['Everybody', 'Tous'],
  nobody: ['Nobody is here.', 'Personne n’est là.'], nobody_so: ['Nobody here matches.', 'Personne ne correspond.'], more_people: ['{n} of {total} are shown: search by name.', '{n} sur {total} sont affichés : cherchez par nom.'],
  everywhere: ['Superadmins', 'Superadministrateurs'], nowhere: ['Without a site', 'Sans site'], whole_site: ['whole site', 'tout le site'], in_session: ['In session {name} since {when}', 'En séance {name} depuis {when}'], offline: ['offline', 'hors ligne'],
  online: ['online', 'en ligne'], online_since: ['online since {when}', 'en ligne depuis {when}'], n_sockets: ['{n} sockets', '{n} connexions'], superadmin: ['superadmin', 'superadministrateur'],
  kick: ['Disconnect', 'Déconnecter'], kick_who: ['Disconnect {name}?', 'Déconnecter {name} ?'], kick_why: ['All sockets close, on every gateway, and stay closed until the next login. You do this as {name}, and it is recorded.', 'Toutes les connexions se ferment, sur chaque passerelle, et ne reviennent qu’à la prochaine connexion. Vous le faites en tant que {name}, et c’est consigné.'],
  kicked: ['{name} is disconnected.', '{name} est déconnecté.'], kick_refused: ['OpenTera does not let {who} disconnect {name}.', 'OpenTera ne permet pas à {who} de déconnecter {name}.'],

  search_log: ['Object, message, topic, id or seq', 'Objet, message, sujet, id ou seq'], internal: ['Internal events too', 'Aussi ce qu’aucun client n’entend'], follow: ['Follow', 'Suivre'],
  time: ['Time', 'Heure'], topic: ['Topic', 'Sujet'], object: ['Object', 'Objet'], operation: ['Operation', 'Opération'], older: ['Older', 'Plus anciens'], no_events: ['No event matches.', 'Aucun événement ne correspond.'],
  op_C: ['created', 'créé'], op_U: ['changed', 'modifié'], op_G: ['soft-deleted', 'supprimé (récupérable)'], op_D: ['deleted', 'supprimé'], message: ['message', 'message'],
  event_n: ['Event {seq}', 'Événement {seq}'], announcement: ['Announcement', 'Annonce'], recorded: ['Recorded', 'Consigné'], type: ['Message', 'Message'], who_asks: ['For whom should it be explained?', 'Qui ne l’a pas reçu, ou l’a reçu ?'], find_by_name: ['A name, two letters or more', 'Un nom, deux lettres ou plus'],
  none_found: ['Nobody has that name.', 'Personne n’a ce nom.'], body: ['Show what is in it', 'Montrer son contenu'], body_for: ['For OpenTera’s superadmins only. Each look is recorded.', 'Pour les superadministrateurs d’OpenTera. Votre consultation est consignée.'], gone_body: ['In the delete event', 'De la suppression'],

  yes_sees: ['Yes: {name} may see it', 'Oui : {name} peut le voir'], no_sees: ['No: {name} may not see it', 'Non : {name} ne peut pas le voir'], deleted_sees: ['Not any more: {name} is told that it is gone', 'Plus maintenant : {name} apprend qu’il a disparu'],
  needed: ['Needed', 'Il faut'], and_needed: ['And needed', 'Et il faut'], has: ['{name} has', '{name} a'], so: ['So', 'Donc'], before: ['Saw it before', 'Le voyait avant'], note: ['Note', 'Note'], or: ['or', 'ou'], more: ['and {n} more', 'et {n} de plus'],
  need_x: ['to be a superadmin', 'être superadministrateur'], need_p: ['a role on project {what}', 'un rôle sur le projet {what}'], need_p_site: ['a role on project {what}, or to be admin of site {site}', 'un rôle sur le projet {what}, ou être admin du site {site}'],
  need_s: ['a role on site {what}, or on a project of it', 'un rôle sur le site {what}, ou sur un de ses projets'], need_a: ['to be admin of site {what}', 'être admin du site {what}'], need_u: ['to be user {what}', 'être l’utilisateur {what}'], need_t: ['to be participant {what}', 'être le participant {what}'],
  need_d: ['to be device {what}', 'être l’appareil {what}'], need_none: ['something that nobody has', 'ce que personne n’a'], is_gone: ['{what}, which is deleted', '{what}, qui est supprimé'],
  by_superadmin: ['superadmin', 'superadministrateur'], by_itself: ['is {kind} {id}', 'est {kind} {id}'], by_role: ['role “{role}” of {service} on {on} “{name}”, through group “{group}”', 'rôle « {role} » de {service} sur {on} « {name} », par le groupe « {group} »'], by_role_nowhere: ['role “{role}” of {service}, through group “{group}”', 'rôle « {role} » de {service}, par le groupe « {group} »'],
  on_site: ['site', 'le site'], on_project: ['project', 'le projet'], no_role: ['no role', 'aucun rôle'], not_user: ['no roles: only users have them', 'aucun rôle : seuls les utilisateurs en ont'],
  so_gone: ['nobody can receive it', 'personne ne peut le recevoir'], so_enable: ['enable {name} first', 'activez d’abord {name}'], so_group_p: ['put {name} into a group with a role on project {what}', 'mettez {name} dans un groupe avec un rôle sur le projet {what}'], so_group_s: ['put {name} into a group with a role on site {what}', 'mettez {name} dans un groupe avec un rôle sur le site {what}'],
  so_group_a: ['put {name} into a group with the role “admin” on site {what}', 'mettez {name} dans un groupe avec le rôle « admin » sur le site {what}'], so_superadmin: ['only superadmins receive it', 'seuls les superadministrateurs le reçoivent'], so_alone: ['no role helps: it is only for those named', 'aucun rôle n’y fait : c’est pour ceux-là seuls'],
  note_gateways: ['it is for the gateways: no client receives it', 'c’est pour les passerelles : aucun client ne l’entend'], note_audit: ['no client receives a {type}', 'aucun client n’entend un {type}'], note_not_user: ['participants and devices get no database events', 'participants et appareils ne reçoivent pas d’événements de base de données'],
  note_members: ['linked devices and session members are those at the time of publication', 'les appareils liés et les membres d’une séance sont ceux du moment de la publication'], note_disabled: ['disabled or deleted: may not connect, and receives nothing', 'désactivé ou supprimé : ne peut pas se connecter et ne reçoit rien'],
  note_now: ['this applies the current roles; they are checked when an event is delivered, so the answer may have been different then', 'ceci vaut pour les rôles de maintenant ; ils sont regardés à la livraison, ce pouvait donc être autrement alors'], note_away: ['is not connected now', 'n’est pas connecté en ce moment'],
  note_since: ['connected since {when}, after the event was recorded', 'connecté depuis {when}, après l’événement'],
  note_after: ['connected since {when}, after the event was recorded: it arrives only with since=', 'connecté depuis {when}, après l’événement : il n’arrive qu’avec since='], note_before: ['connected since {when}, before the event was recorded', 'connecté depuis {when}, avant l’événement'],

  client_intro: ['Sign in as anybody OpenTera knows, and watch what arrives on a socket.', 'Connectez-vous comme quiconque qu’OpenTera connaît, et regardez ce qui arrive.'], how: ['With', 'Avec'], how_password: ['username and password', 'nom et mot de passe'], how_token: ['token', 'jeton'], how_url: ['a websocket URL (terasocket token)', 'une URL de websocket (terasocket token)'],
  url: ['Websocket URL', 'URL de websocket'], token: ['Token', 'Jeton'], snapshot: ['Presence first (snapshot=1)', 'D’abord qui est là (snapshot=1)'], replace: ['Replace sockets that are open elsewhere', 'Remplacer les connexions ouvertes ailleurs'], connect: ['Connect', 'Connecter'], disconnect: ['Disconnect', 'Déconnecter'],
  connecting: ['Connecting …', 'Connexion…'], connected: ['Connected', 'Connecté'], net_cut: ['Network cut: reconnecting in {s} s', 'Le réseau est coupé : retour dans {s} s'], coming_back: ['Reconnecting in {s} s', 'Retour dans {s} s'], ended: ['Ended: {code} {why}', 'Terminé : {code} {why}'],
  cut: ['Cut the network', 'Couper le réseau'], back_now: ['Reconnect now', 'Revenir'], pause: ['Pause', 'Suspendre'], go_on: ['Go on ({n})', 'Reprendre ({n})'], clear: ['Clear', 'Effacer'], filter: ['Filter', 'Filtrer'], frames: ['{n} frames', '{n} trames'], last_seq: ['last seq {seq}', 'dernier seq {seq}'],
  mark_cut: ['Network cut. Nothing has arrived after seq {seq}.', 'Le réseau est coupé. Après le seq {seq}, rien n’est arrivé.'], mark_lost: ['The socket ended: {code} {why}', 'La connexion est terminée : {code} {why}'], mark_back: ['Reconnected with since={seq}: missed events come first.', 'De retour, avec since={seq} : ce qui a manqué arrive d’abord.'],
  mark_resumed: ['Missed events received: {n}. Live from here on.', 'Manqués, et arrivés maintenant : {n}. La suite est en direct.'], mark_open: ['Connected as {name}.', 'Connecté : {name}.'], replayed: ['missed', 'manqué'], latency: ['From the change to this page, ms', 'Du changement à cette page, ms'], no_frames: ['Nothing has arrived yet.', 'Rien n’est encore arrivé.'],
  frame_Cursor: ['cursor: {seq}', 'curseur : {seq}'], frame_incomplete: ['the log does not reach back that far: reload by REST', 'le journal ne remonte pas si loin : relire par REST'],
};

let current = localStorage.getItem('terasocket-language') ?? ((navigator.language ?? '').startsWith('fr') ? 'fr' : 'en');
export const language = () => current;
export function speak(which) {
  current = which;
  localStorage.setItem('terasocket-language', which);
  document.documentElement.lang = which;
}

// t returns a text, with {name} replaced; if it is not known, the fallback.
export function t(key, values = {}, fallback = key) {
  const both = words[key];
  if (!both) return fallback;
  return both[current === 'fr' ? 1 : 0].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

const format = (options) => (value) => new Intl.DateTimeFormat(current === 'fr' ? 'fr-FR' : 'en-CA', { hourCycle: 'h23', ...options }).format(new Date(value));
const clock = (v) => format({ hour: '2-digit', minute: '2-digit', second: '2-digit' })(v);
export const clockMs = (v) => format({ hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 })(v);
const day = (v) => format({ month: 'short', day: 'numeric' })(v);

// when formats a time, with the day unless it is today.
export const when = (v) => (new Date(v).toDateString() === new Date().toDateString() ? clock(v) : day(v) + ' ' + clock(v));

export const number = (v, digits = 0) => new Intl.NumberFormat(current === 'fr' ? 'fr-CA' : 'en-CA', { maximumFractionDigits: digits }).format(v);

// span formats seconds: 850 ms, 12 s, 3 min, 4 h, 2 d.
export function span(s) {
  const a = Math.abs(s);
  if (a < 1) return number(s * 1000, a < 0.01 ? 1 : 0) + ' ms';
  for (const [unit, n] of [['s', 1], ['min', 60], ['h', 3600]]) {
    if (a < n * (unit === 'h' ? 48 : 90)) return number(s / n) + ' ' + unit;
  }
  return number(s / 86400) + (current === 'fr' ? ' j' : ' d');
}
