// SPDX-License-Identifier: Apache-2.0
// Connections that are connected again, and that lack something.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { Journey, newId, operator } from './lib/patient.mjs';

export default function add(stack) {
  const only = async (app) => {
    const connections = (await stack.api('GET', `/patients/${app}`)).json.connections.filter((c) => c.status !== 'failed');
    assert.equal(connections.length, 1, JSON.stringify(connections));
    return connections[0];
  };
  const ofPatient = (app) => `(SELECT c.id FROM connection c JOIN patient p ON p.id = c.patient WHERE p.patient_id = '${app}')`;

  // A source of this test's own: a portal where single kinds of records can be unticked.
  const base = (name) => `${stack.url}/sandbox/as/${name}/fhir`;
  const ASKED = 'openid fhirUser launch/patient offline_access patient/Patient.rs patient/Condition.rs patient/AllergyIntolerance.rs';
  async function furnish() {
    await operator(stack, 'POST', '/personalities', { name: 'ticked-one-by-one', quirks: [] });
    const file = path.join(stack.state, 'personalities-again.json');
    writeFileSync(file, await (await fetch(`${stack.vars.CHARTWAY_SANDBOX_URL}/sources.json`)).text());
    await stack.ctl('source', 'import', file, '--env', 'sandbox');
    await stack.ctl('client', 'add', '--source', base('ticked-one-by-one'), '--slug', newId('own').toLowerCase(), '--auth', 'none', '--client-id', 'chartway-sandbox', '--scopes', ASKED);
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
    await furnish();
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
}
