// The text of an explanation, as in `terasocket explain`, in the reader's language.
import { el } from './dom.js';
import { t, when } from './words.js';

const most = 8; // lines per list

// explanation renders an access.Explanation.
export function explanation(x) {
  const name = x.client.name, answer = x.may_see ? 'yes' : x.as_deleted ? 'deleted' : 'no';
  return el('div', { class: 'explained' }, el('p', { class: 'verdict ' + answer, role: 'status' }, t(answer + '_sees', { name })),
    el('dl', {}, clauses(x.client, x.clauses, x.as_deleted), x.as_deleted && [el('dt', { class: 'head' }, t('before')), clauses(x.client, x.former ?? [], false)], pair('note', notes(x))));
}

function pair(key, lines, values) {
  if (!lines.length) return [];
  const shown = lines.length > most ? [...lines.slice(0, most - 1), t('more', { n: lines.length - most + 1 })] : lines;
  return [el('dt', {}, t(key, values)), el('dd', {}, el('ul', {}, shown.map((l) => el('li', {}, l))))];
}

function clauses(client, all, isAnswered) {
  if (!all.length) return pair('needed', [t('need_none')]);
  return all.map((c, i) => [pair(i ? 'and_needed' : 'needed', needs(c.needed)),
    pair('has', c.satisfied ? [...new Set(c.has.map((p) => path(client, p)))] : holdings(client), { name: client.name }),
    c.satisfied || isAnswered ? [] : pair('so', advice(client, c.needed))]);
}

const named = (id, name) => (name ? `${id} “${name}”` : String(id));

function need(n) {
  const kind = n.tag[0];
  const words = t(kind === 'p' && n.id_site !== null ? 'need_p_site' : 'need_' + kind, { what: named(n.id, n.name), site: named(n.id_site, n.site_name) }, n.tag);
  return n.is_gone ? t('is_gone', { what: words }) : words;
}

function needs(all) {
  const lines = [...new Set([...all].sort((a, b) => (a.tag === 'x') - (b.tag === 'x')).map(need))];
  return lines.length ? lines.map((l, i) => (i ? t('or') + ' ' + l : l)) : [t('need_none')];
}

const role = (r) => {
  const words = t(r.on ? 'by_role' : 'by_role_nowhere', { role: r.role, service: r.service ?? '?', on: r.on && t('on_' + r.on), name: r.name, group: r.group });
  return r.is_gone ? t('is_gone', { what: words }) : words;
};
const itself = (client) => t('by_itself', { kind: t('kind_' + client.kind).toLowerCase(), id: client.id });
const path = (client, p) => (p.by === 'superadmin' ? t('by_superadmin') : p.by === 'itself' ? itself(client) : role(p));

function holdings(client) {
  const lines = [...(client.is_superadmin ? [t('by_superadmin')] : []), ...client.roles.map(role)];
  return lines.length ? lines : [client.kind === 'user' ? t('no_role') : `${itself(client)}; ${t('not_user')}`];
}

function advice(client, needed) {
  const living = needed.filter((n) => !n.is_gone), name = client.name;
  if (!living.length) return [t('so_gone')];
  if (client.is_deleted) return [];
  if (!client.is_enabled) return [t('so_enable', { name })];
  if (client.kind !== 'user') return [];
  const place = living.find((n) => 'psa'.includes(n.tag[0]));
  if (place) return [t('so_group_' + place.tag[0], { name, what: named(place.id, place.name) })];
  return [t(living[0].tag === 'x' ? 'so_superadmin' : 'so_alone')];
}

function notes({ event, client, may_see, as_deleted }) {
  const type = event.type.slice(event.type.lastIndexOf('.') + 1), lines = [];
  if (event.type.startsWith('terasocket.')) return [t('note_gateways')];
  if (type === 'LoginEvent' || type === 'LogEvent') return [t('note_audit', { type })];
  if (event.op && client.kind !== 'user') lines.push(t('note_not_user'));
  if (!event.op) lines.push(t('note_members'));
  if (client.is_deleted || !client.is_enabled) return [...lines, t('note_disabled')];
  lines.push(t('note_now'));
  const since = client.connected_since;
  if (!since) lines.push(t('note_away'));
  else if (new Date(since) > new Date(event.at) && (may_see || as_deleted)) lines.push(t('note_after', { when: when(since) }));
  else lines.push(t(new Date(since) > new Date(event.at) ? 'note_since' : 'note_before', { when: when(since) }));
  return lines;
}
