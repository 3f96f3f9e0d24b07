// SPDX-License-Identifier: Apache-2.0
// A patient's way through Chartway and the sandbox hospital, step by step or whole, without script.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Browser } from './browser.mjs';
import { until } from './stack.mjs';
import { recordsOf } from './rawjson.mjs';

export const newId = (prefix) => `${prefix}-${randomBytes(6).toString('hex')}`;

export class Journey {
  constructor(stack, session) {
    this.stack = stack;
    this.session = session;
    this.browser = new Browser();
  }

  static async begin(stack, body = {}) {
    const answer = await stack.api('POST', '/patient-sessions', {
      patient_id: newId('patient'),
      return_url: 'https://app.example/connected?keep=1#part',
      ...body,
    });
    assert.equal(answer.status, 200, answer.text);
    return new Journey(stack, answer.json);
  }

  // The Session's page, or in Direct mode the page that goes on by a press.
  open() {
    return this.browser.open(this.session.url);
  }

  // Chooses a source on the page: gives the portal's first page.
  async choose(source, page = undefined) {
    page ??= await this.open();
    const form = page.form((f) => f.action.endsWith('/start'));
    return this.browser.submit(page, form, form.buttons.some((b) => b.name === 'source') ? {} : { ...(source ? { source } : {}) },
      form.buttons.some((b) => b.value === source) ? { button: source } : {});
  }

  // Signs in at the sandbox hospital: the consent page, or where its refusal led.
  signIn(page, name) {
    return this.browser.submit(page, page.form((f) => f.action.endsWith('/oauth/login')), { name });
  }

  // Allows what `keep` lets through, or refuses. stopAt sees each redirect.
  consent(page, { decision = 'allow', keep = () => true, ...rest } = {}) {
    const form = page.form((f) => f.action.endsWith('/oauth/consent'));
    const allow = form.fields.filter((f) => f.name === 'allow' && keep(f.value)).map((f) => f.value);
    return this.browser.submit(page, form, { allow }, { button: decision, ...rest });
  }

  done(page) {
    return this.browser.submit(page, page.form((f) => f.action.endsWith('/done')));
  }

  // Picker mode from the link to Done. Gives the result page.
  async connect(source, name, options = {}) {
    return this.consent(await this.signIn(await this.choose(source), name), options);
  }

  async read() {
    const answer = await this.stack.api('GET', `/patient-sessions/${this.session.id}`);
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
  }
}

export async function pullEnd(stack, patient, { ms = 180_000, count = 1 } = {}) {
  return until(`the pull of ${patient}`, async () => {
    const pulls = await stack.ctlJson('pull', 'status', '--patient', patient, '--org', stack.org);
    const ended = pulls.filter((p) => ['complete', 'partial', 'failed'].includes(p.status));
    return pulls.length >= count && ended.length === pulls.length ? pulls[0] : undefined;
  }, { ms, every: 150 });
}

// Every record of a patient as the bytes that were served, page by page.
export async function allRecords(stack, patient) {
  const out = [];
  for (let cursor = ''; ; ) {
    const answer = await stack.api('GET', `/patients/${encodeURIComponent(patient)}/records?count=100${cursor && `&starting_after=${cursor}`}`);
    assert.equal(answer.status, 200, answer.text.slice(0, 300));
    out.push(...recordsOf(answer.text));
    if (!answer.json.has_more) return out;
    assert.match(answer.json.next_cursor, /^[A-Za-z0-9_-]{12}$/);
    cursor = answer.json.next_cursor;
  }
}

export async function operator(stack, method, route, body) {
  const answer = await fetch(`${stack.vars.CHARTWAY_SANDBOX_URL}/operator${route}`, {
    method,
    headers: { authorization: `Bearer ${stack.vars.CHARTWAY_SANDBOX_OPERATOR_TOKEN}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return JSON.parse(text);
}
