// SPDX-License-Identifier: Apache-2.0
// The main path: Picker and Direct mode, refusal, un-ticked scopes, connect another, and what the app sees of it.

import assert from 'node:assert/strict';
import { test } from './lib/runner.mjs';
import { until } from './lib/stack.mjs';
import { Journey, newId, pullEnd } from './lib/patient.mjs';

export default function add(stack) {
  test('Picker: from the link to Done', async () => {
    const journey = await Journey.begin(stack, { patient_name: 'Nora Quill', recommended_connection_ids: [stack.hospital], metadata: { plan: 'premium' } });
    assert.equal(journey.session.status, 'open');
    assert.deepEqual(journey.session.recommended_connection_ids, [stack.hospital]);
    assert.equal(journey.session.connection_id, null);
    const landing = await journey.open();
    assert.equal(landing.status, 200);
    assert.ok(!landing.text.includes('Nora Quill'), 'the name is masked');
    const result = await journey.connect(stack.hospital, 'Amara Okonjo');
    assert.equal(result.status, 200, result.text);
    const read = await journey.read();
    assert.equal(read.status, 'open');
    assert.equal(read.connections.length, 1);
    assert.equal(read.connections[0].status, 'active');
    assert.match(read.connections[0].id, /^conn_[0-9A-HJKMNP-TV-Z]{26}$/);
    assert.equal(read.connections[0].connection_id, stack.hospital);
    const back = await journey.done(result);
    const target = new URL(back.location);
    assert.equal(target.hash, '#part');
    assert.equal(target.searchParams.get('keep'), '1');
    assert.equal(target.searchParams.get('patient_id'), journey.session.patient_id);
    assert.equal(target.searchParams.get('patient_session_id'), journey.session.id);
    assert.equal(target.searchParams.get('success'), null);
    assert.equal((await journey.read()).status, 'complete');
    const patient = (await stack.api('GET', `/patients/${journey.session.patient_id}`)).json;
    assert.equal(patient.name, 'Nora Quill');
    assert.equal(patient.connections[0].patient_session_id, journey.session.id);
    assert.ok(patient.connections[0].scopes.includes('patient/*.rs') || patient.connections[0].scopes.some((s) => s.startsWith('patient/')));
  });

  test('Picker: search without script, connect another', async () => {
    const journey = await Journey.begin(stack);
    const landing = await journey.open();
    const found = await journey.browser.submit(landing, landing.form((f) => f.method === 'GET'), { q: 'sandbx hospitl' });
    assert.ok(found.text.includes('Sandbox Hospital'), found.text);
    const first = await journey.consent(await journey.signIn(await journey.choose(stack.hospital, found), 'Jun Itō'));
    const again = await journey.consent(await journey.signIn(await journey.choose(stack.hospital), 'Ida Leer'));
    assert.equal(first.status, 200);
    await journey.done(again);
    const read = await journey.read();
    assert.equal(read.connections.length, 2);
    assert.equal(new Set(read.connections.map((c) => c.id)).size, 2, 'two upstream patients never share a connection');
    assert.ok(read.connections.every((c) => c.status === 'active'));
  });

  test('Direct mode: straight there and straight back', async () => {
    const journey = await Journey.begin(stack, { connection_id: stack.hospital });
    assert.equal(journey.session.recommended_connection_ids, null);
    const back = await journey.connect(undefined, 'Jun Itō');
    const target = new URL(back.location);
    assert.equal(target.searchParams.get('success'), 'true');
    assert.equal(target.searchParams.get('connection_id'), stack.hospital);
    assert.equal(target.searchParams.get('error'), null);
    assert.equal((await journey.read()).status, 'complete');
  });

  test('Direct mode by FHIR base URL; a refusal comes back as user_denied', async () => {
    const journey = await Journey.begin(stack, { connection_id: `${stack.vars.CHARTWAY_SANDBOX_URL}/fhir` });
    assert.match(journey.session.connection_id, /^fhirsrc_/);
    const back = await journey.connect(undefined, 'Jun Itō', { decision: 'refuse' });
    const target = new URL(back.location);
    assert.equal(target.searchParams.get('success'), 'false');
    assert.equal(target.searchParams.get('error'), 'user_denied');
    assert.equal(target.searchParams.get('connection_id'), null);
    const read = await journey.read();
    assert.equal(read.status, 'complete');
    assert.equal(read.connections[0].id, null);
    assert.equal(read.connections[0].status, 'failed');
    assert.equal(read.connections[0].failure_code, 'user_denied');
    const patient = (await stack.api('GET', `/patients/${journey.session.patient_id}`)).json;
    assert.match(patient.connections[0].id, /^conn_/);
    assert.equal(patient.connections[0].status, 'failed');
  });

  test('Picker: a refused login can be tried again', async () => {
    const journey = await Journey.begin(stack);
    const refused = await journey.connect(stack.hospital, 'Jun Itō', { decision: 'refuse' });
    assert.equal(refused.status, 200);
    const retry = refused.form((f) => f.action.endsWith('/start'));
    const result = await journey.consent(await journey.signIn(await journey.browser.submit(refused, retry), 'Jun Itō'));
    assert.equal(result.status, 200);
    const statuses = (await journey.read()).connections.map((c) => c.status).sort();
    assert.deepEqual(statuses, ['active', 'failed']);
  });

  test('un-ticked scopes: granted is what was ticked, and the pull keeps to it', async () => {
    const journey = await Journey.begin(stack, { connection_id: stack.hospital });
    const page = await journey.signIn(await journey.choose(undefined), 'Amara Okonjo');
    const back = await journey.consent(page, { keep: (scope) => !scope.startsWith('patient/') });
    const target = new URL(back.location);
    assert.equal(target.searchParams.get('success'), 'false');
    assert.equal(target.searchParams.get('error'), 'scope_insufficient');
  });

  test('no offline_access: a one-time connection is still a connection', async () => {
    const journey = await Journey.begin(stack, { connection_id: stack.hospital });
    const page = await journey.signIn(await journey.choose(undefined), 'Ida Leer');
    const back = await journey.consent(page, { keep: (scope) => scope !== 'offline_access' });
    assert.equal(new URL(back.location).searchParams.get('success'), 'true');
    const pull = await pullEnd(stack, journey.session.patient_id);
    assert.equal(pull.status, 'complete');
    assert.equal(pull.stored, 1);
  });

  test('GET burns nothing, however often it is fetched', async () => {
    const journey = await Journey.begin(stack);
    for (let i = 0; i < 50; i++) assert.equal((await fetch(journey.session.url, { redirect: 'manual' })).status, 200);
    assert.equal((await fetch(`${journey.session.url}/start`, { redirect: 'manual' })).status, 405);
    assert.deepEqual((await journey.read()).connections, []);
    assert.equal((await journey.connect(stack.hospital, 'Ida Leer')).status, 200);
  });

  test('the session list, the patient list and the catalogue page through', async () => {
    const patient = newId('lister');
    for (let i = 0; i < 3; i++) await Journey.begin(stack, { patient_id: patient });
    const first = (await stack.api('GET', `/patients/${patient}/patient-sessions?limit=2`)).json;
    assert.equal(first.data.length, 2);
    assert.equal(first.has_more, true);
    const second = (await stack.api('GET', `/patients/${patient}/patient-sessions?limit=2&starting_after=${first.next_cursor}`)).json;
    assert.equal(second.data.length, 1);
    assert.equal(second.has_more, false);
    const sources = (await stack.api('GET', '/connections?limit=5')).json;
    assert.equal(sources.data.length, 5);
    assert.equal((await stack.api('GET', `/connections/${sources.data[0].id}`)).json.id, sources.data[0].id);
  });

  test('events are numbered without gaps', async () => {
    await until('numbers', async () => (await stack.sql('SELECT COUNT(*) FROM event WHERE sequence IS NULL'))[0][0] === '0');
    const rows = await stack.sql('SELECT COUNT(sequence), COALESCE(MAX(sequence), 0) FROM event GROUP BY organization');
    for (const [count, last] of rows) assert.equal(count, last);
  });

  test('every act has its audit row and every attempt its consent receipt', async () => {
    await until('the audit queue', async () => Number((await stack.sql("SELECT COUNT(*) FROM audit WHERE action = 'session.read' OR action LIKE 'session.%'"))[0][0]) > 0);
    const actions = (await stack.sql('SELECT DISTINCT action FROM audit')).map(([a]) => a);
    for (const action of ['org.create', 'session.create', 'attempt.start', 'connection.activate']) assert.ok(actions.includes(action), `${action} in ${actions}`);
    assert.equal((await stack.sql('SELECT COUNT(*) FROM attempt a LEFT JOIN consent_receipt c ON c.attempt = a.id WHERE c.attempt IS NULL'))[0][0], '0');
  });
}
