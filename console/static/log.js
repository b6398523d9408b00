// Why did she not get this event? The log as a table, and the explanation for a person.
import { el, show, every, after, icon } from './dom.js';
import { api, told, identity, signIn, forget } from './api.js';
import { t, when, number } from './words.js';
import { explanation } from './explain.js';

const wish = { part: '', internal: false, follow: true };
let rows = [], isEnd = false;

export function log(root, wanted) {
  const body = el('tbody'), problem = el('p', { class: 'muted', role: 'status' });
  const ask = (more) => api(`log?part=${encodeURIComponent(wish.part)}&internal=${wish.internal}${more}`);
  const load = async (fresh) => {
    try {
      const found = await ask(!fresh && rows.length ? '&behind=' + rows[0].seq : '');
      if (fresh || found.length === 100) rows = []; // otherwise there would be a gap
      if (fresh || found.length) {
        if (!rows.length) isEnd = found.length < 100;
        rows = [...found, ...rows].slice(0, 1000);
        draw();
      }
      problem.textContent = rows.length ? '' : t('no_events');
    } catch (e) {
      problem.textContent = told(e);
    }
  };
  const draw = () => {
    const focused = document.activeElement?.dataset?.seq;
    show(body, rows.map(line));
    older.hidden = isEnd || !rows.length;
    if (focused) body.querySelector(`[data-seq="${CSS.escape(focused)}"]`)?.focus();
  };
  const older = el('button', { hidden: true, onclick: async () => {
    try {
      const found = await ask('&before=' + rows.at(-1).seq);
      isEnd = found.length < 100;
      rows.push(...found);
      draw();
    } catch (e) {
      problem.textContent = told(e);
    }
  } }, t('older'));
  const soon = after(250, () => load(true));
  const check = (name, label) => el('label', { class: 'check' }, el('input', { type: 'checkbox', checked: wish[name], onchange: (e) => { wish[name] = e.target.checked; if (name === 'internal') load(true); } }), label);
  show(root, el('div', { class: 'bar' }, el('input', { type: 'search', class: 'search', placeholder: t('search_log'), 'aria-label': t('search_log'), value: wish.part, oninput: (e) => { wish.part = e.target.value.trim(); soon(); } }),
    check('follow', t('follow')), check('internal', t('internal'))),
    el('div', { class: 'card scroll' }, el('table', { class: 'log' }, el('thead', {}, el('tr', {}, ['time', 'object', 'operation', 'topic'].map((k) => el('th', {}, t(k))))), body), problem, el('div', { class: 'row' }, older)));
  load(true);
  if (wanted && !document.querySelector('dialog.side')) open(Number(wanted));
  return every(2000, async () => { if (wish.follow && rows.length < 1000) await load(rows.length === 0); });
}

const short = (type) => type.slice(type.lastIndexOf('.') + 1);
const what = (e) => (e.object_type ? `${e.object_type} ${e.object_id}` : short(e.type));
const chip = (e) => el('span', { class: 'chip op-' + (e.op ?? 'M') }, t(e.op ? 'op_' + e.op : 'message'));

function line(e) {
  const go = () => open(e.seq, e);
  return el('tr', { tabindex: 0, 'data-seq': e.seq, onclick: go, onkeydown: (k) => {
    const next = { ArrowDown: 'nextSibling', ArrowUp: 'previousSibling' }[k.key];
    if (k.key === 'Enter') go();
    if (next) { k.preventDefault(); k.currentTarget[next]?.focus(); }
  } }, el('td', { class: 'n' }, when(e.at)), el('td', {}, el('b', {}, what(e))), el('td', {}, chip(e)), el('td', { class: 'muted topic' }, e.topic));
}

// open shows one event and asks for whom to explain it.
async function open(seq, event) {
  history.replaceState(null, '', '#log/' + seq);
  event ??= (await api('log?internal=true&part=' + seq).catch(() => [])).find((e) => e.seq === seq);
  const box = el('dialog', { class: 'side', 'aria-label': t('event_n', { seq }), onclose: () => { box.remove(); if (location.hash === '#log/' + seq) history.replaceState(null, '', '#log'); }, onclick: (k) => { if (k.target === box) box.close(); } });
  const answer = el('div', { 'aria-live': 'polite' }), found = el('ul', { class: 'plain found' }), inside = el('div');
  const choose = async (person) => {
    show(found);
    name.value = person.name;
    show(answer, el('p', { class: 'muted busy' }, '…'));
    try {
      show(answer, explanation(await api(`explain?seq=${seq}&kind=${person.kind}&uuid=${encodeURIComponent(person.uuid)}`)));
    } catch (e) {
      show(answer, el('p', { class: 'wrong' }, told(e)));
    }
  };
  const look = after(200, async (part) => {
    if ([...part].length < 2) return show(found);
    try {
      const all = await api('find?part=' + encodeURIComponent(part));
      show(found, all.length ? all.map((p) => el('li', {}, el('button', { class: 'choice', onclick: () => choose(p) }, el('span', { class: 'face c-' + p.kind }, icon(p.kind)), p.name, el('span', { class: 'muted' }, t('kind_' + p.kind))))) : el('li', { class: 'muted' }, t('none_found')));
    } catch (e) {
      show(found, el('li', { class: 'wrong' }, told(e)));
    }
  });
  const name = el('input', { class: 'search', autofocus: true, autocomplete: 'off', placeholder: t('find_by_name'), 'aria-label': t('find_by_name'), oninput: () => look(name.value.trim()) });
  const reveal = async () => {
    if (identity?.kind !== 'user' && !await signIn(false)) return;
    try {
      const { body, gone } = await api(`log/${seq}/body`, { headers: { Authorization: 'OpenTera ' + identity.token } });
      show(inside, el('pre', {}, JSON.stringify(body, null, 2)), gone && [el('p', { class: 'muted' }, t('gone_body')), el('pre', {}, JSON.stringify(gone, null, 2))]);
    } catch (e) {
      show(inside, el('p', { class: 'wrong' }, told(e)));
      if (e.status === 401) forget(); // the token expires after an hour
    }
  };
  const fact = (k, v) => [el('dt', {}, t(k)), el('dd', {}, v)];
  box.append(el('div', { class: 'sheet' }, el('div', { class: 'row' }, el('h2', { class: 'grow' }, t('event_n', { seq })), el('button', { class: 'quiet', onclick: () => box.close() }, t('close'))),
    event && el('dl', { class: 'facts' }, fact('object', [what(event), ' ', chip(event)]), fact('recorded', when(event.at)), fact('type', short(event.type)), fact('topic', event.topic), fact('announcement', number(event.announcement))),
    el('h3', {}, t('who_asks')), name, found, answer,
    el('div', { class: 'inside' }, el('button', { onclick: reveal }, icon('key'), t('body')), el('p', { class: 'muted' }, t('body_for')), inside)));
  document.body.append(box);
  box.showModal();
}
