// SPDX-License-Identifier: Apache-2.0
// Letting go, end to end: the hospital gets its tokens back, nothing stays readable. And master keys, changed and lost while everything runs.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { sleep, until } from './lib/stack.mjs';
import { allRecords, Journey, operator, pullEnd } from './lib/patient.mjs';

const PROGRAMS = ['api', 'picker', 'callback', 'scheduler'];

export default function add(stack) {
  const conf = path.join(stack.state, 'etc/chartway.conf');
  const number = async (text) => Number((await stack.sql(text))[0][0]);

  async function connected(name, body = {}) {
    const journey = await Journey.begin(stack, { connection_id: stack.hospital, ...body });
    const back = await journey.connect(undefined, name);
    assert.equal(new URL(back.location).searchParams.get('success'), 'true', back.location);
    const patient = journey.session.patient_id;
    const [connection] = (await stack.api('GET', `/patients/${patient}`)).json.connections;
    return { journey, patient, connection: connection.id };
  }

  // How many grants of this person live at the hospital; they are dead afterwards.
  async function liveGrants(name) {
    const person = (await operator(stack, 'GET', '/census')).patients.find((p) => p.name.includes(name));
    return (await operator(stack, 'POST', `/patients/${encodeURIComponent(person.id)}/revoke`)).revoked;
  }

  const revoked = (connection) => until('the revocation', async () => {
    const found = (await stack.ctlJson('connection', 'revocations', '--org', stack.org)).find((r) => r.connection === connection);
    return found && found.status !== 'waiting' ? found.status : undefined;
  }, { ms: 20_000 });

  test('vault: delete: unreadable at once, rows gone soon, the hospital has its tokens back', async () => {
    const name = 'Dora Twice';
    await liveGrants(name);
    const { patient, connection, journey } = await connected(name);
    await pullEnd(stack, patient);
    assert.ok((await allRecords(stack, patient)).length > 0);
    const [[row]] = await stack.sql(`SELECT HEX(id) FROM patient WHERE patient_id = '${patient}'`);
    const answer = await stack.api('DELETE', `/patients/${patient}`);
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual([answer.json.id, answer.json.deleted], [patient, true]);
    assert.deepEqual((await stack.api('DELETE', `/patients/${patient}`)).json, answer.json);
    for (const route of [`/patients/${patient}`, `/patients/${patient}/records`, `/patient-sessions/${journey.session.id}`]) {
      assert.equal((await stack.api('GET', route)).status, 404, route);
    }
    assert.equal(await number(`SELECT COUNT(*) FROM patient_key WHERE patient = x'${row}'`), 0);
    assert.match(readFileSync(path.join(stack.state, 'lib/tombstones.journal'), 'utf8'), /^tombstone 1 /m);
    assert.equal(await revoked(connection), 'done');
    assert.equal(await liveGrants(name), 0, 'a grant lives on at the hospital');
    await until('the janitor', async () => await number(`SELECT (SELECT COUNT(*) FROM record WHERE patient = x'${row}')
      + (SELECT COUNT(*) FROM connection WHERE patient = x'${row}') + (SELECT COUNT(*) FROM pull WHERE patient = x'${row}')
      + (SELECT COUNT(*) FROM tombstone WHERE patient = x'${row}' AND purged_at IS NULL)`) === 0, { ms: 30_000 });
    assert.equal((await stack.api('POST', '/patients', { patient_id: patient })).status, 200);
    const again = await stack.ctl('patient', 'reapply-deletions');
    assert.match(again, /, 0 patients or keys were back/);
  });

  test('vault: a page left open and a pull under way end with the patient', async () => {
    const { patient, journey } = await connected('Walter Brandvold');
    const second = await Journey.begin(stack, { patient_id: patient, connection_id: stack.hospital });
    const consent = await second.signIn(await second.choose(undefined), 'Jun Itō');
    await until('a few pages', async () => await number(`SELECT COUNT(*) FROM record r JOIN patient p ON p.id = r.patient WHERE p.patient_id = '${patient}'`) > 0, { every: 20 });
    assert.equal((await stack.api('DELETE', `/patients/${patient}`)).status, 200);
    const back = await second.consent(consent);
    assert.ok(!(back.location ?? '').includes('success=true'), back.location);
    await sleep(1000);
    assert.equal(await number(`SELECT COUNT(*) FROM patient WHERE patient_id = '${patient}'`), 0, 'nobody is made anew');
    assert.equal((await stack.api('GET', `/patient-sessions/${journey.session.id}`)).status, 404);
    assert.equal(await number('SELECT COUNT(*) FROM job j LEFT JOIN pull u ON u.id = j.subject LEFT JOIN patient p ON p.id = u.patient WHERE j.kind = 1 AND p.id IS NULL'), 0);
  });

  test('vault: disconnect in the middle of a pull', async () => {
    const name = 'Max Pirelli-Sands';
    await liveGrants(name);
    const { patient, connection } = await connected(name);
    const answer = await stack.api('DELETE', `/patients/${patient}/connections/${connection}`);
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual([answer.json.disconnected, answer.json.revocation, answer.json.message], [true, 'requested', null]);
    assert.equal((await stack.api('GET', `/patients/${patient}`)).json.connections[0].status, 'disconnected');
    assert.ok(['complete', 'failed'].includes((await pullEnd(stack, patient)).status));
    assert.equal(await revoked(connection), 'done');
    assert.equal(await liveGrants(name), 0);
    await until('its records to leave', async () => (await allRecords(stack, patient)).length === 0, { ms: 30_000 });
    assert.match(await stack.ctl('connection', 'disconnect', connection), /^disconnected before/);
  });

  async function restart(...names) {
    const before = names.map((name) => [name, stack.pid(name)]);
    for (const [, pid] of before) process.kill(pid, 'SIGTERM');
    for (const [name, pid] of before) {
      await until(`another ${name}`, () => stack.pid(name) !== pid && process.kill(stack.pid(name), 0), { ms: 30_000, every: 30 });
    }
    await until('the API', async () => (await stack.api('GET', '/patients?limit=1')).status === 200, { ms: 20_000 });
  }
  const edit = (from, to) => {
    const text = readFileSync(conf, 'utf8');
    assert.ok(text.match(from), String(from));
    writeFileSync(conf, text.replace(from, to), { mode: 0o600 });
  };

  test('vault: the master key is changed while a pull runs', async () => {
    const second = path.join(stack.state, 'etc/second.key');
    const email = 'rotation@example.test';
    const before = await connected('Jun Itō', { patient_email: email });
    await stack.ctl('keyring', 'init', second);
    edit(/^master_keys = (.*)$/m, `master_keys = $1 second=${second}\nactive = dev`);
    await restart(...PROGRAMS);
    edit(/^active = dev$/m, 'active = second');
    await restart(...PROGRAMS);
    const during = await connected('Walter Brandvold', { patient_email: email });
    const [out] = await Promise.all([stack.ctl('keyring', 'rotate'), pullEnd(stack, during.patient)]);
    assert.match(out, /moved to master key 'second'/);
    const uses = await stack.ctlJson('keyring', 'status');
    const old = uses.find((u) => u.master_key === 'dev');
    assert.deepEqual([old.state, old.patient_keys, old.data_keys, old.purpose_keys], ['held', 0, 0, 0]);
    edit(/^master_keys = .*$/m, `master_keys = second=${second}`);
    await restart(...PROGRAMS);
    assert.equal((await pullEnd(stack, before.patient)).status, 'complete');
    assert.equal((await pullEnd(stack, during.patient)).status, 'complete');
    assert.ok((await allRecords(stack, during.patient)).length > 3000);
    const found = (await stack.api('GET', `/patients?email=${encodeURIComponent(email)}`)).json.data.map((p) => p.id);
    assert.deepEqual(found.sort(), [before.patient, during.patient].sort(), 'e-mail look-up goes on, and so does the API key');
    assert.match(await stack.ctl('keyring', 'verify'), /^open: /);
  });

  test('vault: a lost master key: nothing starts, nothing is served wrongly, nothing is lost', async () => {
    const { patient } = await connected('Jun Itō');
    await pullEnd(stack, patient);
    const count = (await allRecords(stack, patient)).length;
    const second = path.join(stack.state, 'etc/second.key');
    const keys = (await stack.sql('SELECT COUNT(*), MD5(GROUP_CONCAT(HEX(wrapped) ORDER BY patient)) FROM patient_key'))[0];
    renameSync(second, `${second}.away`);
    try {
      assert.equal((await stack.api('GET', `/patients/${patient}`)).status, 200, 'who runs has it in memory');
      for (const name of ['api', 'scheduler']) process.kill(stack.pid(name), 'SIGTERM');
      await until('the refusals', () => ['api', 'scheduler'].every((name) => /cannot_start.*'second'|master key 'second'/.test(readFileSync(path.join(stack.state, 'log', `${name}.log`), 'utf8'))));
      assert.ok((await fetch(`${stack.url}/api/patients/${patient}`, { headers: { authorization: `Bearer ${stack.key}` } })).status >= 500);
      await assert.rejects(stack.ctl('keyring', 'status'), /'second'/);
      // another key's file under its name
      await stack.ctl('keyring', 'init', second).catch(() => writeFileSync(second, `${'ab'.repeat(32)}\n`, { mode: 0o600 }));
      await assert.rejects(stack.ctl('org', 'list'), /'second' does not open/);
    } finally {
      renameSync(`${second}.away`, second);
    }
    assert.ok(existsSync(second));
    await until('the API', async () => (await stack.api('GET', '/health').catch(() => ({}))).status === 200, { ms: 20_000 });
    await until('its records', async () => (await allRecords(stack, patient)).length === count, { ms: 20_000 });
    await until('a scheduler', () => process.kill(stack.pid('scheduler'), 0), { ms: 20_000 });
    assert.deepEqual((await stack.sql('SELECT COUNT(*), MD5(GROUP_CONCAT(HEX(wrapped) ORDER BY patient)) FROM patient_key'))[0], keys);
  });

  test('vault: no program that holds keys leaves a core', () => {
    for (const name of [...PROGRAMS, 'sandbox']) {
      assert.match(readFileSync(`/proc/${stack.pid(name)}/limits`, 'utf8'), /^Max core file size +0 +0 /m, name);
    }
  });
}
