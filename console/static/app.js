// The page: its frame, its views, its keys.
import { el, show, icon, dialog, toasts } from './dom.js';
import { api, enter, leave, forget, identity, signIn, onIdentity, onTrouble, told } from './api.js';
import { t, language, speak } from './words.js';
import { well } from './well.js';
import { people } from './people.js';
import { log } from './log.js';
import { client, pause } from './client.js';

const views = { well, people, log, client };
const main = el('main', { id: 'view', tabindex: -1 }), head = el('header'), nav = el('nav'), trouble = el('div', { class: 'trouble', role: 'alert', hidden: true });
let end = () => {}, session = {};

function theme(next) {
  if (next) localStorage.setItem('terasocket-theme', next);
  const wanted = localStorage.getItem('terasocket-theme') ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  document.documentElement.dataset.theme = wanted;
  return wanted;
}
const turn = () => { theme(theme() === 'dark' ? 'light' : 'dark'); render(); };
const translate = () => { speak(language() === 'fr' ? 'en' : 'fr'); render(); };

const current = () => {
  const [name, rest] = location.hash.slice(1).split('/');
  return [views[name] ? name : 'well', rest];
};

function render() {
  const [name, rest] = current();
  end();
  document.documentElement.lang = language();
  document.title = t(name) + ' – terasocket';
  show(head, el('a', { class: 'brand', href: '#well' }, el('img', { src: 'icon.svg', alt: '', width: 28, height: 28 }), 'terasocket'), el('span', { class: 'muted grow who' }, t('of_gateway', { name: session.gateway, version: session.version })),
    identity ? el('span', { class: 'signed' }, t('signed_in', { name: identity.name })) : null,
    el('button', { class: 'quiet', id: 'sign', onclick: () => (identity ? forget() : signIn(true)) }, icon('key'), el('span', { class: 'wide' }, t(identity ? 'sign_out' : 'sign_in'))),
    el('button', { class: 'quiet', id: 'language', lang: language() === 'fr' ? 'en' : 'fr', onclick: translate }, t('language')), el('button', { class: 'quiet', id: 'theme', 'aria-label': t('theme'), title: t('theme'), onclick: turn }, icon('theme')),
    session.password && el('button', { class: 'quiet', onclick: leave }, t('leave')));
  nav.setAttribute('aria-label', t('views'));
  show(nav, Object.keys(views).map((v) => el('a', { href: '#' + v, 'aria-current': v === name ? 'page' : null }, icon(v), el('span', { class: 'long' }, t(v)), el('span', { class: 'short' }, t(v + '_short')))));
  main.className = name;
  const place = el('div');
  show(main, el('h1', {}, t(name)), place);
  end = views[name](place, rest);
}

function help() {
  const line = (keys, what) => [el('dt', {}, keys.map((k) => el('kbd', {}, k))), el('dd', {}, t(what))];
  dialog(t('help'), (finish) => [el('dl', { class: 'facts' }, line(['1', '2', '3', '4'], 'help_views'), line(['/'], 'help_search'), line(['↑', '↓'], 'help_rows'), line(['Enter'], 'help_open'), line(['Esc'], 'help_close'),
    line([t('key_space')], 'help_pause'), line(['d'], 'help_theme'), line(['l'], 'help_language'), line(['?'], 'help_help')), el('div', { class: 'row end' }, el('button', { class: 'main', onclick: () => finish() }, t('close')))]);
}

document.addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]') || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
  const [name] = current(), view = Object.keys(views)[Number(e.key) - 1];
  if (view) location.hash = view;
  else if (e.key === '/') { e.preventDefault(); main.querySelector('.search')?.focus(); }
  else if (e.key === '?') help();
  else if (e.key === 'd') turn();
  else if (e.key === 'l') translate();
  else if (e.key === ' ' && name === 'client' && !/^(BUTTON|SUMMARY|A)$/.test(e.target.tagName)) { e.preventDefault(); pause(); }
  else if (e.key === 'ArrowDown' && e.target === document.body) main.querySelector('tr[tabindex]')?.focus();
});
window.addEventListener('hashchange', () => {
  document.querySelectorAll('dialog[open]').forEach((d) => d.close());
  render();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { theme(); render(); });
onIdentity(render);
onTrouble((e) => { trouble.hidden = !e; trouble.textContent = e ? told(e) : ''; });

theme();
speak(language());
document.body.append(head, nav, trouble, main, toasts);
try {
  session = await api('session');
  if (!session.open) await enter();
} catch (e) {
  show(main, el('p', { class: 'card wrong' }, told(e)));
}
render();
