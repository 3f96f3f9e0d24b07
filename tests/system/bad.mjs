// SPDX-License-Identifier: Apache-2.0
// Bad input: each a clear answer, and nothing half-written.

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { Journey, newId } from './lib/patient.mjs';

const good = () => ({ patient_id: newId('bad'), return_url: 'https://app.example/back' });

export default function add(stack) {
  const count = async () => Number((await stack.sql('SELECT COUNT(*) FROM patient_session'))[0][0]);

  const table = [
    ['no key', {}, good(), { key: null }, 401, 'missing_api_key'],
    ['a key that is none', {}, good(), { key: 'nonsense' }, 401, 'invalid_api_key'],
    ['a key of ours with one letter changed', {}, good(), { key: 'tampered' }, 401, 'invalid_api_key'],
    ['JSON cut off', {}, '{"patient_id":"x"', {}, 400],
    ['JSON that is a list', {}, '[]', {}, 400],
    ['JSON with a member twice', {}, '{"patient_id":"x","patient_id":"y","return_url":"https://app.example"}', {}, 400],
    ['no body', {}, '', {}, 400],
    ['an unknown field', {}, { ...good(), colour: 'red' }, {}, 400, undefined, 'colour'],
    ['no patient_id', {}, { return_url: 'https://app.example' }, {}, 400, undefined, 'patient_id'],
    ['an empty patient_id', {}, { ...good(), patient_id: '' }, {}, 400, undefined, 'patient_id'],
    ['a patient_id of 201 characters', {}, { ...good(), patient_id: 'é'.repeat(201) }, {}, 400, undefined, 'patient_id'],
    ['a patient_id with a prefix of ours', {}, { ...good(), patient_id: 'conn_1' }, {}, 400, undefined, 'patient_id'],
    ['a patient_id with a control character', {}, { ...good(), patient_id: 'a\u0007b' }, {}, 400, undefined, 'patient_id'],
    ['a patient_id that is a number', {}, { ...good(), patient_id: 7 }, {}, 400, undefined, 'patient_id'],
    ['bytes that are not UTF-8', {}, Buffer.from('{"patient_id":"a\xff\xfe","return_url":"https://app.example"}', 'latin1'), {}, 400],
    ['an unknown source', {}, { ...good(), connection_id: 'fhirsrc_01J9YR9N3X4VZ6P2K5RH7M3LMP' }, {}, 404, 'resource_not_found'],
    ['a source of another shape', {}, { ...good(), connection_id: 'x' }, {}, 404, 'resource_not_found'],
    ['both modes at once', {}, { ...good(), connection_id: 'HOSPITAL', recommended_connection_ids: ['HOSPITAL'] }, {}, 400],
    ['an unknown recommended source', {}, { ...good(), recommended_connection_ids: ['fhirsrc_01J9YR9N3X4VZ6P2K5RH7M3LMP'] }, {}, 404],
    ['javascript: as return_url', {}, { ...good(), return_url: 'javascript:alert(1)' }, {}, 400, undefined, 'return_url'],
    ['a return_url with a user', {}, { ...good(), return_url: 'https://a:b@app.example/' }, {}, 400, undefined, 'return_url'],
    ['a relative return_url', {}, { ...good(), return_url: '/back' }, {}, 400, undefined, 'return_url'],
    ['a return_url over its limit', {}, { ...good(), return_url: `https://app.example/${'a'.repeat(2048)}` }, {}, 400, undefined, 'return_url'],
    ['expires_in too short', {}, { ...good(), expires_in: 59 }, {}, 400, undefined, 'expires_in'],
    ['expires_in too long', {}, { ...good(), expires_in: 86401 }, {}, 400, undefined, 'expires_in'],
    ['a label of 61 characters', {}, { ...good(), return_button_label: 'x'.repeat(61) }, {}, 400, undefined, 'return_button_label'],
    ['an e-mail that is none', {}, { ...good(), patient_email: 'nobody' }, {}, 400, undefined, 'patient_email'],
    ['metadata that is a list', {}, { ...good(), metadata: [] }, {}, 400, undefined, 'metadata'],
    ['metadata of 51 keys', {}, { ...good(), metadata: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, i])) }, {}, 400, undefined, 'metadata'],
    ['an unknown version', {}, good(), { headers: { version: '1999-01-01' } }, 400, 'unsupported_api_version'],
  ];
  for (const [name, , body, options, status, code, param] of table) {
    test(`session start: ${name}`, async () => {
      const before = await count();
      const text = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body).replaceAll('HOSPITAL', stack.hospital);
      const key = options.key === 'tampered' ? `${stack.key.slice(0, -3)}${stack.key.at(-3) === 'a' ? 'b' : 'a'}${stack.key.slice(-2)}` : options.key;
      const answer = await stack.api('POST', '/patient-sessions', text, { ...options, ...('key' in options ? { key } : {}) });
      assert.equal(answer.status, status, answer.text);
      const { error } = answer.json;
      assert.equal(error.request_id, answer.headers.get('x-request-id'));
      assert.ok(error.message.length > 10 && error.doc_url.startsWith('http'), answer.text);
      if (code) assert.equal(error.code, code);
      if (param) assert.equal(error.param, param);
      assert.equal(await count(), before, 'nothing was written');
    });
  }

  test('a body that is cut off leaves nothing behind', async () => {
    const before = await count();
    await new Promise((resolve, reject) => {
      const socket = net.connect(stack.port, '127.0.0.1', () => {
        socket.write(`POST /api/patient-sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${stack.key}\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n{"patient_id":`);
        socket.end();
      });
      socket.on('close', resolve).on('error', reject).resume();
    });
    assert.equal(await count(), before);
  });

  test('a body over the limit is 413', async () => {
    const status = await new Promise((resolve, reject) => {
      const request = http.request(`${stack.url}/api/patient-sessions`, { method: 'POST', headers: { authorization: `Bearer ${stack.key}`, 'content-type': 'application/json', 'content-length': 200_000 } }, (r) => resolve(r.resume().statusCode));
      request.on('error', reject);
      request.end(Buffer.alloc(200_000, 32));
    });
    assert.equal(status, 413);
  });

  test('reads of what is not there, or not ours, are 404', async () => {
    for (const route of ['/patient-sessions/ps_01J9YQ8M2X4VZ6P2K5RH7M3KQT', '/patient-sessions/nonsense', '/patients/nobody', '/patients/nobody/records', '/connections/fhirsrc_01J9YR9N3X4VZ6P2K5RH7M3LMP', '/nowhere']) {
      const answer = await stack.api('GET', route);
      assert.equal(answer.status, 404, route);
      assert.equal(answer.json.error.code, 'resource_not_found');
    }
    const org = (await stack.ctl('org', 'create', newId('Other'), '--env', 'sandbox')).trim();
    const key = (await stack.ctl('key', 'create', org, 'other')).trim();
    const journey = await Journey.begin(stack);
    for (const route of [`/patient-sessions/${journey.session.id}`, `/patients/${journey.session.patient_id}`]) {
      assert.equal((await stack.api('GET', route, undefined, { key })).status, 404, 'another tenant sees nothing');
    }
    const live = (await stack.ctl('org', 'create', newId('Live'), '--env', 'production')).trim();
    const liveKey = (await stack.ctl('key', 'create', live, 'live')).trim();
    assert.match(liveKey, /^cw_sk_live_/);
    assert.equal((await stack.api('GET', `/connections/${stack.hospital}`, undefined, { key: liveKey })).status, 404, 'environments never cross');
    const refused = await stack.api('POST', '/patient-sessions', good(), { key: liveKey });
    assert.equal(refused.json.error.param, 'return_url');
    await stack.ctl('org', 'return', 'add', live, 'https://app.example');
    assert.equal((await stack.api('POST', '/patient-sessions', good(), { key: liveKey })).status, 200);
  });

  test('a revoked key is dead at once', async () => {
    const org = (await stack.ctl('org', 'create', newId('Revoked'), '--env', 'sandbox')).trim();
    const key = (await stack.ctl('key', 'create', org, 'short')).trim();
    assert.equal((await stack.api('GET', '/patients', undefined, { key })).status, 200);
    const [row] = await stack.ctlJson('key', 'list', org);
    await stack.ctl('key', 'revoke', row.id);
    assert.equal((await stack.api('GET', '/patients', undefined, { key })).status, 401);
  });

  test('records: a cursor of another filter, a bad one, a bad count', async () => {
    const journey = await Journey.begin(stack);
    const route = `/patients/${journey.session.patient_id}/records`;
    for (const query of ['starting_after=abc', 'starting_after=AAAAAAAAAAAA&ending_before=AAAAAAAAAAAA', 'count=0', 'count=101', 'count=x', 'since=yesterday', 'type=not%20a%20type']) {
      assert.equal((await stack.api('GET', `${route}?${query}`)).status, 400, query);
    }
    assert.deepEqual((await stack.api('GET', route)).json.data, []);
  });

  test('Session URLs that are unknown, tampered, complete or expired', async () => {
    const journey = await Journey.begin(stack);
    const { url } = journey.session;
    const last = url.at(-2) === 'A' ? 'B' : 'A';
    for (const wrong of [`${url.slice(0, -2)}${last}${url.at(-1)}`, `${url}x`, url.slice(0, -1), `${stack.url}/c/`, `${stack.url}/c/..%2f..%2fetc`]) {
      const answer = await fetch(wrong, { redirect: 'manual' });
      assert.ok([400, 404].includes(answer.status), `${wrong} ${answer.status}`);
    }
    await stack.sql(`UPDATE patient_session SET expires_at = '2020-01-01' WHERE return_url LIKE 'https://app.example%' AND status = 1 AND id = (SELECT id FROM (SELECT id FROM patient_session ORDER BY id DESC LIMIT 1) x)`);
    const expired = await journey.open();
    assert.equal(expired.forms.filter((f) => f.action.endsWith('/start')).length, 0, 'nothing can be started');
    assert.equal((await journey.read()).status, 'expired');
  });

  test('outgoing requests to loopback are refused unless the configuration names the host', async () => {
    const file = path.join(stack.state, 'internal.json');
    writeFileSync(file, JSON.stringify({ Endpoints: [{ URL: 'http://127.0.0.1:9/fhir', OrganizationName: 'Loopback Clinic' }, { URL: 'https://127.0.0.1:9/fhir', OrganizationName: 'Loopback TLS' }, { URL: 'https://intranet/fhir', OrganizationName: 'Inside' }] }));
    assert.match(await stack.ctl('source', 'import', file), /0 created/);
    // Even a row that got in somehow is not dialled.
    await stack.ctl('source', 'import', 'https://ssrf.example/fhir', '--name', 'SSRF Clinic');
    await stack.sql("UPDATE endpoint SET url = 'https://127.0.0.1:1/fhir' WHERE url = 'https://ssrf.example/fhir'");
    const source = (await stack.ctlJson('source', 'list', '--query', 'SSRF Clinic'))[0].id;
    const journey = await Journey.begin(stack, { connection_id: source });
    const back = await journey.choose(undefined);
    assert.equal(new URL(back.location).searchParams.get('error'), 'discovery_failed');
  });
}
