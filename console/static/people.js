// Who is here? Presence by site and project; disconnecting somebody.
import { el, show, every, after, icon, dialog, toast } from './dom.js';
import { api, rest, told, identity, signIn, forget, Refused } from './api.js';
import { t, when, number } from './words.js';

const wish = { part: '', site: '', project: '', kind: '', busy: false };

export function people(root) {
  let last = null;
  const list = el('div'), site = el('select', { 'aria-label': t('any_site') }), project = el('select', { 'aria-label': t('any_project') });
  const load = async () => {
    try {
      last = await api('people?part=' + encodeURIComponent(wish.part));
      draw();
    } catch (e) {
      if (!last || e.code !== 'unreachable') show(list, el('p', { class: 'card wrong' }, told(e)));
    }
  };
  const draw = () => {
    const places = last.people.flatMap((p) => p.places);
    options(site, t('any_site'), places.map((p) => p.site), wish.site);
    options(project, t('any_project'), places.filter((p) => p.project && (!wish.site || p.site === wish.site)).map((p) => p.project), wish.project);
    kinds.forEach((b) => b.setAttribute('aria-pressed', String(wish.kind === b.dataset.kind)));
    busy.setAttribute('aria-pressed', String(wish.busy));
    const focused = document.activeElement?.dataset?.who;
    show(list, last.total > last.people.length && el('p', { class: 'muted' }, t('more_people', { n: number(last.people.length), total: number(last.total) })), groups(last.people, load));
    if (focused) list.querySelector(`[data-who="${CSS.escape(focused)}"]`)?.focus();
  };
  const pick = (name, select) => select.addEventListener('change', () => { wish[name] = select.value; if (name === 'site') wish.project = ''; draw(); });
  pick('site', site);
  pick('project', project);
  const toggle = (label, set, kind) => el('button', { class: 'toggle', 'data-kind': kind, onclick: () => { set(); if (last) draw(); } }, kind && icon(kind), label);
  const kinds = ['user', 'participant', 'device'].map((k) => toggle(t('kinds_' + k), () => { wish.kind = wish.kind === k ? '' : k; }, k));
  const busy = toggle(t('busy_only'), () => { wish.busy = !wish.busy; });
  const soon = after(250, load);
  show(root, el('div', { class: 'bar' }, el('input', { type: 'search', class: 'search', placeholder: t('search_people'), 'aria-label': t('search_people'), value: wish.part, oninput: (e) => { wish.part = e.target.value; soon(); } }),
    site, project, el('div', { class: 'toggles' }, kinds, busy)), list);
  return every(3000, load);
}

function options(select, all, names, chosen) {
  const known = [...new Set([...names, ...(chosen ? [chosen] : [])])].sort();
  if (known.join('\n') === select.dataset.known) return;
  select.dataset.known = known.join('\n');
  show(select, el('option', { value: '' }, all), known.map((n) => el('option', { value: n, selected: n === chosen }, n)));
}

// groups makes a card for each site and project. A person who belongs to several is in each of them.
function groups(all, load) {
  const fits = all.filter((p) => (!wish.kind || p.kind === wish.kind) && (!wish.busy || p.session));
  const by = new Map();
  for (const person of fits) {
    const places = person.places.length ? person.places : [{ site: person.superadmin ? t('everywhere') : t('nowhere'), project: '' }];
    for (const { site, project } of places) {
      if (wish.site && site !== wish.site || wish.project && project !== wish.project) continue;
      const key = site + '\n' + (project ?? '');
      if (!by.has(key)) by.set(key, { site, project, members: [] });
      by.get(key).members.push(person);
    }
  }
  if (by.size === 0) return el('p', { class: 'card muted' }, t(all.length ? 'nobody_so' : 'nobody'));
  return el('div', { class: 'groups' }, [...by.values()].sort((a, b) => (a.site + a.project).localeCompare(b.site + b.project)).map((g) => el('section', { class: 'card' },
    el('h2', {}, g.project || g.site, el('span', { class: 'count' }, String(g.members.length))), g.project !== '' && el('p', { class: 'muted where' }, g.project ? g.site : t('whole_site')),
    el('ul', { class: 'plain' }, g.members.map((p) => row(p, load))))));
}

function row(p, load) {
  return el('li', { class: 'person' }, el('span', { class: 'face c-' + p.kind, title: t('kind_' + p.kind) }, icon(p.kind)),
    el('div', { class: 'grow' }, el('b', {}, p.name), p.superadmin && el('span', { class: 'chip' }, t('superadmin')),
      el('div', { class: 'muted' }, el('span', { class: 'dot ' + (p.online_since ? 'good' : 'off') }), p.online_since ? t('online_since', { when: when(p.online_since) }) : t('offline'),
        p.sockets > 1 && ', ' + t('n_sockets', { n: p.sockets })),
      p.session && el('div', { class: 'session' }, t('in_session', { name: p.session.name ?? p.session.uuid.slice(0, 8), when: when(p.session.since) })),
      p.status && el('div', { class: 'muted' }, statusText(p.status))),
    p.online_since && el('button', { class: 'quiet', 'data-who': p.uuid, 'aria-label': t('kick_who', { name: p.name }), onclick: () => kick(p, load) }, t('kick')));
}

// statusText formats a device's status: the keys and values of its JSON, or the text as is.
function statusText(text) {
  try {
    const value = JSON.parse(text);
    if (value && typeof value === 'object') return Object.entries(value).map(([k, v]) => `${k}: ${typeof v === 'object' ? JSON.stringify(v) : v}`).join(', ').slice(0, 200);
  } catch { /* not JSON: shown as is */ }
  return text.slice(0, 200);
}

async function kick(p, load) {
  if (!identity && !await signIn(true)) return;
  const sure = await dialog(t('kick_who', { name: p.name }), (finish) => [el('p', {}, t('kick_why', { name: identity.name })),
    el('div', { class: 'row end' }, el('button', { onclick: () => finish(false) }, t('cancel')), el('button', { class: 'main danger', onclick: () => finish(true) }, t('kick')))]);
  if (!sure) return;
  try {
    await rest(`${identity.kind}/disconnect?${p.kind}_uuid=${encodeURIComponent(p.uuid)}`, 'OpenTera ' + identity.token);
    toast(t('kicked', { name: p.name }));
  } catch (e) {
    if (e.status === 401) forget(); // the token expires after an hour
    toast(e instanceof Refused && e.status === 403 ? t('kick_refused', { who: identity?.name, name: p.name }) : told(e), true);
  }
  load();
}
