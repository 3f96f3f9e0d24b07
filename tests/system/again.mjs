// SPDX-License-Identifier: Apache-2.0
// Connections that are connected again, that lack something, and that last without a refresh token.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { Journey, newId, operator, pullEnd } from './lib/patient.mjs';

export default function add(stack) {
  const only = async (app) => {
    const connections = (await stack.api('GET', `/patients/${app}`)).json.connections.filter((c) => c.status !== 'failed');
    assert.equal(connections.length, 1, JSON.stringify(connections));
    return connections[0];
  };
  const ofPatient = (app) => `(SELECT c.id FROM connection c JOIN patient p ON p.id = c.patient WHERE p.patient_id = '${app}')`;

  // Sources of these tests' own: a portal where single kinds of records can be unticked, and two of Epic's for public apps.
  const base = (name) => `${stack.url}/sandbox/as/${name}/fhir`;
  const ASKED = 'openid fhirUser launch/patient offline_access patient/Patient.rs patient/Condition.rs patient/AllergyIntolerance.rs';
  let ready;

  async function furnish() {
    await operator(stack, 'POST', '/personalities', { name: 'ticked-one-by-one', quirks: [] });
    const file = path.join(stack.state, 'personalities-again.json');
    writeFileSync(file, await (await fetch(`${stack.vars.CHARTWAY_SANDBOX_URL}/sources.json`)).text());
    await stack.ctl('source', 'import', file, '--env', 'sandbox');
    const own = (name, ...more) => stack.ctl('client', 'add', '--source', base(name), '--slug', newId('own').toLowerCase(), '--auth', 'none', '--client-id', 'chartway-sandbox', ...more);
    await own('ticked-one-by-one', '--scopes', ASKED);
    for (const name of ['epic-registering', 'epic-unregistering']) await own(name, '--profile', 'epic');
  }

  // Direct mode from the link to the app: what the app is told.
  async function direct(body, name) {
    const journey = await Journey.begin(stack, body);
    const back = await journey.connect(undefined, name);
    assert.ok(back.location?.startsWith('https://app.example'), `${back.status} ${back.url}: ${back.text}`);
    return new URL(back.location).searchParams;
  }

  test('reconnect: the same person keeps the connection, another one changes nothing', async () => {
    const app = newId('again');
    assert.equal((await direct({ patient_id: app, connection_id: stack.hospital }, 'Ida Leer')).get('success'), 'true');
    const before = await only(app);
    const body = { patient_id: app, reconnect_connection_id: before.id };
    const other = await direct(body, 'Jun Itō');
    assert.equal(other.get('success'), 'false');
    assert.equal(other.get('error'), 'identity_mismatch');
    assert.equal(other.get('connection_id'), null);
    assert.deepEqual(await only(app), before);

    await stack.sql(`UPDATE connection SET status = 4, failure_code = 'refresh_refused', failure_at = NOW(3) WHERE id IN (SELECT id FROM ${ofPatient(app)} AS mine)`);
    assert.equal((await only(app)).status, 'refresh_failed');
    assert.equal((await direct(body, 'Ida Leer')).get('success'), 'true');
    const after = await only(app);
    assert.equal(after.id, before.id);
    assert.equal(after.status, 'active');
    assert.equal(after.failure_code, null);

    // Without being asked to reconnect, the other person is a second connection.
    assert.equal((await direct({ patient_id: app, connection_id: stack.hospital }, 'Jun Itō')).get('success'), 'true');
    const active = (await stack.api('GET', `/patients/${app}`)).json.connections.filter((c) => c.status === 'active');
    assert.equal(new Set(active.map((c) => c.id)).size, 2);
  });

  test('partial: what was unticked is named, and shared by signing in again at once', async () => {
    await (ready ??= furnish());
    const app = newId('partial');
    const journey = await Journey.begin(stack, { patient_id: app });
    const source = (await stack.api('GET', `/connections/${encodeURIComponent(base('ticked-one-by-one'))}`)).json.id;
    const page = await journey.connect(source, 'Ida Leer', { keep: (scope) => !scope.includes('AllergyIntolerance') });
    assert.match(page.text, /What was not shared/);
    assert.match(page.text, /Allergies/);
    const partial = await only(app);
    assert.ok(partial.missing_types.includes('AllergyIntolerance'), JSON.stringify(partial));
    assert.ok(!partial.missing_types.includes('Condition'));

    const form = page.forms.find((f) => f.action.endsWith('/start'));
    assert.ok(form, 'a way to sign in again');
    const whole = await journey.consent(await journey.signIn(await journey.browser.submit(page, form), 'Ida Leer'));
    assert.doesNotMatch(whole.text, /What was not shared/);
    const connection = await only(app);
    assert.equal(connection.id, partial.id);
    assert.equal(connection.missing_types, undefined);
  });

  // --- a public app at Epic ---

  // Connects, and asks for a pull after the access token is over.
  async function outlive(name) {
    await (ready ??= furnish());
    const app = newId('public');
    assert.equal((await direct({ patient_id: app, connection_id: base(name) }, 'Ida Leer')).get('success'), 'true');
    const connection = await only(app);
    assert.equal(connection.one_time, undefined, 'lasting access');
    assert.equal((await stack.sql(`SELECT COUNT(*) FROM dynamic_client WHERE connection IN ${ofPatient(app)}`))[0][0], '1');
    await pullEnd(stack, app, { ms: 30_000 });
    await stack.sql(`UPDATE token_grant SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE WHERE connection IN ${ofPatient(app)}`);
    await stack.ctl('pull', 'start', '--patient', app, '--org', stack.org);
    return { app, connection, pull: await pullEnd(stack, app, { ms: 30_000, count: 2 }) };
  }

  test('quirk 4: a public app registers a client for the connection, and renews by its key', async () => {
    const { app, pull } = await outlive('epic-registering');
    assert.equal(pull.status, 'complete', JSON.stringify(pull));
    assert.equal((await only(app)).status, 'active');
    assert.equal((await stack.sql(`SELECT refresh_sealed IS NULL AND version > 1 FROM token_grant WHERE connection IN ${ofPatient(app)}`))[0][0], '1');
  });

  test('quirk 5: where its assertions are refused, the connection ends, and can be connected again', async () => {
    const { app, connection, pull } = await outlive('epic-unregistering');
    assert.equal(pull.status, 'failed', JSON.stringify(pull));
    const ended = await only(app);
    assert.equal(ended.status, 'refresh_failed');
    assert.equal((await stack.sql(`SELECT COUNT(*) FROM dynamic_client WHERE connection IN ${ofPatient(app)}`))[0][0], '0');
    assert.equal((await direct({ patient_id: app, reconnect_connection_id: connection.id }, 'Ida Leer')).get('success'), 'true');
    assert.equal((await only(app)).id, connection.id);
  });
}
