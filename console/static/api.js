// Requests to the gateway, and the identity that makes them.
import { el, dialog } from './dom.js';
import { t, language } from './words.js';

// Refused is an answer other than 2xx, or no answer (status 0).
export class Refused extends Error {
  constructor(status, code, text) {
    super(text);
    Object.assign(this, { status, code });
  }
}

// words for people, in their language if the code is known.
export const told = (e) => (e instanceof Refused ? t('error_' + e.code, {}, e.message) : String(e));

const heard = new Set(); // called with null, or with the problem
export const onTrouble = (f) => heard.add(f);

async function request(path, options) {
  try {
    return await fetch(path, { cache: 'no-store', credentials: 'same-origin', ...options });
  } catch {
    const e = new Refused(0, 'unreachable', 'the gateway does not answer');
    heard.forEach((f) => f(e));
    throw e;
  }
}

let token = sessionStorage.getItem('terasocket-console') ?? '';
const ours = () => (token ? { 'X-Console-Token': token } : {});

// api requests /console/api; if the password is missing, it asks for it.
export async function api(path, { method = 'GET', body, headers = {} } = {}) {
  const options = () => ({ method, body: body && JSON.stringify(body), headers: { ...ours(), ...headers } });
  let response = await request('api/' + path, options());
  let answer = await read(response);
  if (response.status === 401 && answer.error === 'password') {
    await enter();
    response = await request('api/' + path, options());
    answer = await read(response);
  }
  if (!response.ok) throw new Refused(response.status, answer.error ?? 'other', answer.text ?? response.statusText);
  heard.forEach((f) => f(null));
  return answer;
}

async function read(response) {
  const text = await response.text();
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return { text };
  }
}

// rest requests the gateway's own REST API. OpenTera's errors are a text, {"message"} or bare.
export async function rest(path, authorization) {
  await (entering ?? Promise.resolve());
  const response = await request('client/api/' + path, { headers: { ...ours(), Authorization: authorization, 'Accept-Language': language() } });
  const answer = await read(response);
  if (!response.ok) throw new Refused(response.status, response.status === 401 ? 'credentials' : 'rest', answer.message ?? (typeof answer === 'string' ? answer : answer.text ?? response.statusText));
  return answer;
}

let entering = null;

// enter asks for the console's password until it is right.
export function enter() {
  entering ??= (async () => {
    while (true) {
      let wrong = el('p', { class: 'wrong', role: 'alert' });
      const isIn = await dialog(t('enter'), (finish) => form([field('password', t('password'), { type: 'password', autocomplete: 'current-password' })], t('enter_do'), wrong, async (given) => {
        const response = await request('api/session', { method: 'POST', body: JSON.stringify(given) });
        const answer = await read(response);
        if (!response.ok) throw new Refused(response.status, answer.error, answer.text);
        token = answer.token;
        sessionStorage.setItem('terasocket-console', token);
        finish(true);
      }));
      if (isIn) return;
    }
  })().finally(() => { entering = null; });
  return entering;
}

// leave ends the session of the console's password.
export async function leave() {
  await api('session', { method: 'DELETE' }).catch(() => {});
  sessionStorage.removeItem('terasocket-console');
  location.reload();
}

export function field(name, label, attributes = {}) {
  return el('label', {}, el('span', {}, label), el('input', { name, required: true, autocomplete: 'off', ...attributes }));
}

// form is the form of a dialog: act gets the input; what it throws is shown.
export function form(fields, button, wrong, act) {
  return el('form', { onsubmit: async (e) => {
    e.preventDefault();
    const buttons = e.target.querySelectorAll('button');
    wrong.textContent = '';
    buttons.forEach((b) => { b.disabled = true; });
    try {
      await act(Object.fromEntries(new FormData(e.target)));
    } catch (problem) {
      wrong.textContent = told(problem);
    }
    buttons.forEach((b) => { b.disabled = false; });
  } }, fields, wrong, el('div', { class: 'row end' }, el('button', { type: 'button', onclick: (e) => e.target.closest('dialog').close() }, t('cancel')), el('button', { class: 'main' }, button)));
}

export const basic = (name, password) => 'Basic ' + btoa(String.fromCharCode(...new TextEncoder().encode(name + ':' + password)));

// logIn logs in with a username and a password, and the second step if there is one. more: further arguments.
export async function logIn(name, password, more = '') {
  const answer = await rest('user/login?' + more, basic(name, password));
  if (!answer.reason) return answer;
  if (answer.reason !== '2fa') throw new Refused(403, 'step_' + answer.reason, answer.message);
  const done = await dialog(t('second_step'), (finish) => form([field('code', t('code'), { inputmode: 'numeric', autocomplete: 'one-time-code' })], t('sign_in'), el('p', { class: 'wrong', role: 'alert' }),
    async ({ code }) => finish(await rest('user/login/2fa?' + more + '&otp_code=' + encodeURIComponent(code), ''))));
  if (!done) throw new Refused(401, 'credentials', '');
  return done;
}

// identity is the OpenTera identity signed in on this page: {kind: user or service, name, token}, or null.
export let identity = null;
const changed = new Set();
export const onIdentity = (f) => changed.add(f);
export function forget() {
  identity = null;
  changed.forEach((f) => f());
}

// signIn asks for the credentials of an OpenTera user or service; false if the dialog was cancelled.
export async function signIn(forService) {
  const kind = el('select', { name: 'kind', onchange: () => swap() }, el('option', { value: 'user' }, t('kind_user')), forService && el('option', { value: 'service' }, t('kind_service')));
  const fields = el('div', { class: 'fields' });
  const swap = () => fields.replaceChildren(...(kind.value === 'user'
    ? [field('name', t('username'), { autocomplete: 'username' }), field('password', t('password'), { type: 'password', autocomplete: 'current-password' })]
    : [field('token', t('service_token'), { type: 'password' })]));
  swap();
  const wrong = el('p', { class: 'wrong', role: 'alert' });
  return await dialog(t('sign_in_opentera'), (finish) => [el('p', { class: 'muted' }, t('sign_in_why')),
    form([forService && el('label', {}, el('span', {}, t('as_who')), kind), fields], t('sign_in'), wrong, async (given) => {
      if (kind.value === 'service') identity = { kind: 'service', name: t('kind_service'), token: given.token };
      else {
        const answer = await logIn(given.name, given.password);
        identity = { kind: 'user', name: answer.user_fullname, token: answer.user_token };
      }
      changed.forEach((f) => f());
      finish(true);
    })]) === true;
}
