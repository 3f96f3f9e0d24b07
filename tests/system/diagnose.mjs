// SPDX-License-Identifier: Apache-2.0
// What an operator sees of trouble, on the real stack: the card of a failed attempt, the doctor, signing keys through the web server, the daily probes.

import assert from 'node:assert/strict';
import { test } from './lib/runner.mjs';
import { Journey, operator } from './lib/patient.mjs';
import { until } from './lib/stack.mjs';

// A command that may fail: what it printed, and how it ended.
async function ctl(stack, ...args) {
  try {
    return { code: 0, out: await stack.ctl(...args) };
  } catch (error) {
    return { code: error.code, out: error.stdout ?? '', problem: error.stderr ?? '' };
  }
}

const kids = async (stack) => (await (await fetch(`${stack.url}/.well-known/jwks.json`)).json()).keys.map((key) => key.kid);

export default function add(stack) {
  test('why an attempt failed: found by patient, told with cause, step and exchange', async () => {
    const name = 'Diagnosa Kanarienvogel';
    await operator(stack, 'POST', '/faults', { point: 'token', fault: 'dead_grant', count: 1 });
    const journey = await Journey.begin(stack, { connection_id: stack.hospital, patient_name: name });
    await journey.connect(undefined, 'Ida Leer');
    await operator(stack, 'DELETE', '/faults');
    const list = await stack.ctlJson('attempt', 'list', '--failed', '--patient', journey.session.patient_id, '--org', stack.org);
    assert.equal(list.length, 1);
    assert.equal(list[0].failure_code, 'token_exchange_failed');
    const text = await stack.ctl('attempt', 'show', list[0].id, '--json');
    const card = JSON.parse(text);
    assert.equal(card.failure_code, 'token_exchange_failed');
    assert.equal(card.exchange.error, 'invalid_grant');
    assert.equal(card.exchange.method, 'POST');
    assert.ok(card.exchange.host.startsWith('127.0.0.1:') && card.exchange.path.includes('token'), text);
    assert.ok(card.exchange.parameters.includes('code_verifier'), text);
    assert.ok(card.cause.length > 20 && card.next.length > 20 && card.patient_sentence.length > 20);
    assert.match(card.exchange.request_id, /./);
    assert.ok(!text.includes('Kanarienvogel') && !/eyJ[A-Za-z0-9_-]{20,}/.test(text), 'nobody is named');
    assert.ok((await stack.ctl('attempt', 'show', list[0].id)).includes('exchange.error'));
  });

  test('the doctor finds the sandbox hospital sound, and what is not', async () => {
    const found = await stack.ctlJson('doctor', stack.hospital);
    const by = Object.fromEntries(found.map((row) => [row.check, row]));
    assert.deepEqual(found.filter((row) => row.result === 'fail'), []);
    assert.equal(by.token_probe.result, 'ok');
    assert.equal(by.clock.result, 'ok');
    assert.ok(by.redirect_uri.detail.startsWith(`${stack.url}/callback/`));
    const away = await ctl(stack, 'doctor', 'https://10.0.0.1/fhir', '--json');
    assert.equal(away.code, 1);
    assert.equal(JSON.parse(away.out).find((row) => row.check === 'reach').cause, 'host_blocked');
  });

  test('signing keys: a wait is kept, an emergency is not, and the key set follows', async () => {
    const answer = await fetch(`${stack.url}/.well-known/jwks.json`);
    assert.match(answer.headers.get('cache-control'), /max-age=3600/);
    const before = await kids(stack);
    const refused = await ctl(stack, 'signing-key', 'rotate', '--alg', 'ES384');
    assert.equal(refused.code, 1);
    assert.deepEqual(await kids(stack), before);
    await stack.ctl('signing-key', 'rotate', '--alg', 'ES384', '--emergency');
    const after = await kids(stack);
    assert.equal(after.filter((kid) => before.includes(kid)).length, before.length - 1, 'the old one has gone, its next signs');
    assert.equal(after.length, before.length);
  });

  test('probes find a client that the hospital no longer takes, and its recovery', async () => {
    await until('the turns', async () => Number((await stack.sql('SELECT COUNT(*) FROM probe_turn WHERE kind = 1'))[0][0]) >= 1);
    const slug = JSON.parse(await stack.ctl('doctor', stack.hospital, '--json')).find((row) => row.check === 'client_registration').detail.split(',')[0];
    const probe = async (cause) => {
      await stack.sql(`UPDATE probe_turn t JOIN client_registration r ON r.id = t.subject SET t.due_at = '2020-01-01' WHERE r.slug = '${slug}'`);
      return until(`the probe (${cause})`, async () => (await stack.ctlJson('client', 'list')).find((row) => row.slug === slug && row.cause === cause && row.probed_at !== null), { ms: 30_000, every: 500 });
    };
    assert.equal((await probe('')).probe, 'ok');
    const [[client]] = await stack.sql(`SELECT client_id FROM client_registration WHERE slug = '${slug}'`);
    await stack.sql(`UPDATE client_registration SET client_id = 'revoked-by-the-vendor' WHERE slug = '${slug}'`);
    try {
      assert.equal((await probe('client_unknown')).probe, 'fail');
      assert.equal((await ctl(stack, 'status')).code, 1);
    } finally {
      await stack.sql(`UPDATE client_registration SET client_id = '${client}' WHERE slug = '${slug}'`);
    }
    assert.equal((await probe('')).probe, 'ok');
  });
}
