// SPDX-License-Identifier: Apache-2.0
// How real authorization servers depart from the rules, each played by a personality of the sandbox hospital, and what becomes of a patient
// who connects there. The numbers are those of doc/smart-rules.md.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { Journey, newId, operator, pullEnd } from './lib/patient.mjs';
import { until } from './lib/stack.mjs';

const VENDOR = 'played-by-sandbox'; // no profile has this name, so what the server says of itself chooses
const SECRETS = { client_secret_basic: ['chartway-sandbox-basic', 'sandbox-basic-secret'], client_secret_post: ['chartway-sandbox-post', 'sandbox-post-secret'] };
const OTHER_HOST = ['meditech', 'ecw', 'va'];
const RESOURCE = /^(patient|user)\/([A-Za-z*]+)\./;

// Personalities of the tests' own, where one vendor is not enough or several quirks belong together.
const OWN = {
  'as-published': ['published-with-slash', 'aud-with-slash'],
  'no-wellknown-html': ['oauth-uris-only', 'html-for-unknown', 'no-revocation'],
  'no-patient-no-one': ['no-patient', 'no-fhir-user', 'no-patient-search'],
  'proxy-no-patient': ['no-patient', 'proxy-user', 'no-patient-search'],
  'refused-in-200': ['errors-in-200', 'confidential-only'],
  'refused-in-500': ['errors-in-500', 'confidential-only'],
  'refused-by-uri': ['errors-by-uri', 'confidential-only'],
  'unsigned-and-silent': ['id-token-bad-signature', 'no-patient', 'no-patient-search'],
  'found-by-search': ['no-patient', 'no-fhir-user'],
  'stays-and-lasts': ['refresh-token-stays', 'short-life'],
  'silent-and-sparse': ['auth-unlisted', 'iss-silent', 'expires-missing', 'token-type-missing', 'scope-missing'],
};

// The ULID behind an id of the wire, as the tables have it.
function hexOf(id) {
  const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  return [...id.split('_')[1]].reduce((n, c) => n * 32n + BigInt(digits.indexOf(c)), 0n).toString(16).padStart(32, '0');
}

export default function add(stack) {
  const base = (name) => `${OTHER_HOST.includes(name) ? stack.url.replace('127.0.0.1', '127.0.0.2') : stack.url}/sandbox/as/${name}/fhir`;
  let ready;
  const start = () => (ready ??= furnish());

  async function furnish() {
    for (const [name, quirks] of Object.entries(OWN)) await operator(stack, 'POST', '/personalities', { name, quirks });
    const jwks = await (await fetch(`${stack.url}/.well-known/jwks.json`)).json();
    await operator(stack, 'POST', '/clients', { client_id: 'with-key', auth: 'private_key_jwt', jwks, redirect_folder: '{origin}/callback/' });
    await operator(stack, 'POST', '/clients', { client_id: 'with-jwks-url', auth: 'private_key_jwt', jwks_uri: `${stack.url}/.well-known/jwks.json`, redirect_folder: '{origin}/callback/' });
    await importAll();
    const hosts = [stack.url, stack.url.replace('127.0.0.1', '127.0.0.2')].flatMap((url) => ['--host', new URL(url).host]);
    await stack.ctl('client', 'add', '--vendor', VENDOR, ...hosts, '--client-id', 'chartway-sandbox', '--auth', 'none', '--slug', 'played', '--env', 'sandbox');
  }

  async function importAll() {
    const file = path.join(stack.state, 'personalities.json');
    writeFileSync(file, await (await fetch(`${stack.vars.CHARTWAY_SANDBOX_URL}/sources.json`)).text());
    await stack.ctl('source', 'import', file, '--env', 'sandbox', '--vendor', VENDOR);
  }

  // A registration of its own for one personality. Gives its slug.
  async function registered(name, { auth = 'none', id, secret, profile, scopes } = {}) {
    const args = ['client', 'add', '--source', base(name), '--slug', newId('q').toLowerCase()];
    const [knownId, knownSecret] = SECRETS[auth] ?? [auth === 'private_key_jwt' ? 'with-key' : 'chartway-sandbox'];
    args.push('--auth', auth, '--client-id', id ?? knownId);
    if (secret ?? knownSecret) {
      const file = path.join(stack.state, `${newId('secret')}`);
      writeFileSync(file, `${secret ?? knownSecret}\n`, { mode: 0o600 });
      args.push('--secret-file', file);
    }
    if (profile) args.push('--profile', profile);
    if (scopes) args.push('--scopes', scopes);
    await stack.ctl(...args);
  }

  // From the Session to the app. Gives what the app is told and what is in the tables.
  async function connect(name, { patient = 'Ida Leer', app = undefined, keep = () => true } = {}) {
    const journey = await Journey.begin(stack, { connection_id: base(name), ...(app ? { patient_id: app } : {}) });
    let page = await journey.choose(undefined);
    if (page.location) return ended(journey, page);
    if (!page.forms.some((f) => f.action.endsWith('/oauth/login'))) page = await pressOn(journey, page);
    if (page.location) return ended(journey, page);
    page = await journey.signIn(page, patient);
    if (!page.location) page = await journey.consent(page, { keep });
    for (let i = 0; i < 2 && !page.location; i++) page = await pressOn(journey, page); // an answer by a form
    return ended(journey, page);
  }

  // A page that goes on by itself, by a header or a script: one form.
  async function pressOn(journey, page) {
    const refresh = /url=(.*)$/.exec(page.headers.get('refresh') ?? '')?.[1];
    if (refresh) return journey.browser.open(new URL(refresh, page.url).href);
    const form = page.forms.find((f) => !f.action.includes('/consent') && !f.action.includes('/login'));
    assert.ok(form, `${page.status} ${page.url}: ${page.text}`);
    return journey.browser.submit(page, form);
  }

  async function ended(journey, page) {
    assert.ok(page.location?.startsWith('https://app.example'), `${page.status} ${page.url}: ${page.text}`);
    const back = new URL(page.location).searchParams;
    const patient = (await stack.api('GET', `/patients/${journey.session.patient_id}`)).json;
    const connection = patient.connections[0];
    const [row] = await stack.sql(`SELECT one_time FROM connection WHERE patient = (SELECT id FROM patient WHERE patient_id = '${journey.session.patient_id}') ORDER BY created_at DESC LIMIT 1`);
    return { journey, success: back.get('success') === 'true', error: back.get('error'), connection, oneTime: row?.[0] === '1' };
  }

  const read = (scopes) => [...new Set(scopes.map((s) => RESOURCE.exec(s)?.[2]).filter(Boolean))];

  // Connected, with records to read, and with a refresh token or without.
  async function works(name, { oneTime = false, ...options } = {}) {
    await start();
    const got = await connect(name, options);
    assert.equal(got.error, null, `${name}: ${got.error}`);
    assert.equal(got.success, true);
    assert.equal(got.connection.status, 'active');
    assert.ok(read(got.connection.scopes).length > 0, `${got.connection.scopes}`);
    assert.equal(got.oneTime, oneTime, oneTime ? 'a one-time connection' : 'a lasting connection');
    return got;
  }

  async function fails(name, code, options = {}) {
    await start();
    const got = await connect(name, options);
    assert.equal(got.success, false, `${name} connected`);
    assert.equal(got.error, code);
    assert.equal(got.connection.status, 'failed');
    assert.equal(got.connection.failure_code, code);
    return got;
  }

  const grantOf = async ({ journey }) => {
    const [row] = await stack.sql(`SELECT g.version, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), g.expires_at) FROM token_grant g JOIN connection c ON c.id = g.connection JOIN patient p ON p.id = c.patient WHERE p.patient_id = '${journey.session.patient_id}'`);
    return row && { version: Number(row[0]), seconds: Number(row[1]) }; // none: the grant has ended
  };

  // Connects, waits for the first pull, lets the access token be over, and pulls again: that must refresh.
  async function refreshes(name, { faults = [], ...options } = {}) {
    const got = await works(name, options);
    const app = got.journey.session.patient_id;
    await pullEnd(stack, app, { ms: 30_000 });
    const before = await grantOf(got);
    await stack.sql(`UPDATE token_grant SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE WHERE connection IN (SELECT c.id FROM connection c JOIN patient p ON p.id = c.patient WHERE p.patient_id = '${app}')`);
    for (const fault of faults) await operator(stack, 'POST', '/faults', { personality: name, point: 'refresh', ...fault });
    try {
      await stack.ctl('pull', 'start', '--patient', app, '--org', stack.org);
      const pull = await pullEnd(stack, app, { ms: 30_000, count: 2 });
      return { ...got, app, pull, before, grant: await grantOf(got) };
    } finally {
      await operator(stack, 'DELETE', '/faults');
    }
  }

  async function refreshed(name, options) {
    const got = await refreshes(name, options);
    assert.equal(got.pull.status, 'complete', JSON.stringify(got.pull));
    assert.ok(got.grant.version > got.before.version, 'the grant was refreshed');
    assert.ok(got.grant.seconds > 60, `${got.grant.seconds} s left`);
    return got;
  }

  const hospital = async (name, route, options) => (await fetch(`${base(name).replace(/\/fhir$/, '')}${route}`, options));

  // --- Epic ---

  test('quirk 1: scopes are not advertised, and fixed at registration', async () => {
    const { connection } = await works('epic', { oneTime: true });
    assert.ok(connection.scopes.length > 20, 'what was granted counts, not what was asked');
  });

  test('quirk 2: a refresh token without offline_access in the scope is used', async () => {
    const got = await refreshed('offline-unlisted');
    assert.ok(!got.connection.scopes.includes('offline_access'));
  });

  test('quirk 3: a public app gets no refresh token, one with a key does', async () => {
    await works('public-no-refresh', { oneTime: true });
    await registered('public-no-refresh', { auth: 'private_key_jwt' });
    await works('public-no-refresh');
  });

  async function letGo(name, options) {
    const { connection, journey } = await works(name, options);
    const answer = await stack.api('DELETE', `/patients/${journey.session.patient_id}/connections/${connection.id}`);
    assert.equal(answer.status, 200, answer.text);
    return { connection, ...answer.json };
  }

  test('quirk 6: no revocation endpoint: the connection goes here, and the app is told where the patient takes access back', async () => {
    const { revocation, message } = await letGo('no-revocation');
    assert.equal(revocation, 'not_offered');
    assert.ok(message.length > 20, message);
  });

  test('rule 6: a grant is given back where the hospital takes it', async () => {
    const { revocation, connection } = await letGo('revoke-all');
    assert.equal(revocation, 'requested');
    await until('the hospital to take it', async () => (await stack.sql(`SELECT status FROM revocation WHERE connection = UNHEX('${hexOf(connection.id)}')`))[0]?.[0] === '2', { ms: 20_000 });
  });

  test('quirk 7: unauthorized_client says that the organization has not enabled the app', async () => {
    await fails('epic-new-client', 'organization_not_enabled');
  });

  test('quirk 8: keys that are registered themselves are refused, those behind a URL are fetched', async () => {
    await start();
    await registered('keys-by-url', { auth: 'private_key_jwt' });
    await fails('keys-by-url', 'client_rejected');
    await registered('epic', { auth: 'private_key_jwt', id: 'with-jwks-url' });
    const { connection } = await refreshed('epic');
    assert.ok(!connection.scopes.includes('offline_access'));
  });

  test('quirk 25: 200 and a page for the SMART configuration: the endpoints come from metadata', async () => {
    assert.equal((await hospital('no-wellknown-html', '/fhir/.well-known/smart-configuration')).headers.get('content-type').split(';')[0], 'text/html');
    await works('no-wellknown-html');
  });

  test('quirk 26: a bare 400 at a refresh ends nothing', async () => {
    await refreshed('refresh-always', { faults: [{ fault: 'bare', count: 1 }] });
  });

  test('quirk 26: a bare 400 to the code fails the attempt, and the next one works', async () => {
    await start();
    await operator(stack, 'POST', '/faults', { personality: 'refresh-always', point: 'token', fault: 'bare', count: 1 });
    await fails('refresh-always', 'token_answer_invalid');
    await works('refresh-always');
  });

  // --- Oracle Health ---

  test('quirk 28: v1 scopes dropped without a word: v2 is asked', async () => {
    const { connection } = await works('oracle');
    assert.ok(connection.scopes.filter((s) => RESOURCE.test(s)).every((s) => !s.endsWith('.read') || s.startsWith('user/')), `${connection.scopes}`);
  });

  test('quirk 28: when nothing but launch scopes is left, the connection fails as scope_insufficient', async () => {
    await start();
    await registered('v1-dropped', { scopes: 'openid fhirUser launch/patient offline_access patient/Observation.read' });
    await fails('v1-dropped', 'scope_insufficient');
  });

  test('quirk 29: unknown-tenant and client-persona-mismatch', async () => {
    await fails('oracle-tenant', 'oauth_callback_failed');
    await fails('oracle-provider', 'oauth_callback_failed');
  });

  test('quirk 30: offline_access dropped: a one-time connection', async () => {
    await works('oracle-online', { oneTime: true });
  });

  test('quirk 31: tokens of 570 seconds; the refresh token stays when no new one comes', async () => {
    const got = await refreshed('stays-and-lasts');
    assert.ok(got.grant.seconds <= 570, `${got.grant.seconds}`);
  });

  test('quirk 32: no wild card, search and read apart, some types as user/ only', async () => {
    const { connection } = await works('oracle');
    assert.ok(!connection.scopes.some((s) => s.includes('/*.')), `${connection.scopes}`);
    assert.ok(read(connection.scopes).includes('Observation'));
  });

  test('quirk 33: an error with error_uri and no description', async () => {
    await fails('refused-by-uri', 'client_rejected');
  });

  test('quirk 39: no openid-configuration, refresh_token not among the grant types', async () => {
    assert.equal((await hospital('grant-types-short', '/fhir/.well-known/openid-configuration')).status, 404);
    await refreshed('grant-types-short');
  });

  // --- athenahealth, eClinicalWorks, MEDITECH ---

  test('quirk 41: the practice in the access token', async () => {
    await works('athena');
  });

  test('quirk 42: the issuer on another host than the endpoints', async () => {
    const document = await (await hospital('issuer-elsewhere', '/fhir/.well-known/smart-configuration')).json();
    assert.notEqual(new URL(document.issuer).host, new URL(document.token_endpoint).host);
    await works('issuer-elsewhere');
  });

  test('quirk 45: single-use refresh tokens; a public app is refused', async () => {
    await fails('ecw', 'client_rejected');
  });

  test('quirk 46: a key and RS384 alone', async () => {
    await start();
    await registered('ecw', { auth: 'private_key_jwt' });
    await refreshed('ecw');
  });

  test('quirk 48: no patient in the token answer, aud without slash', async () => {
    await start();
    await works('medent');
    await works('no-patient');
  });

  test('quirk 49: discovery at the root of the host, an app for this hospital alone', async () => {
    await start();
    await operator(stack, 'POST', '/clients', { client_id: 'for-this-hospital', auth: 'client_secret_post', secret: 'a-hospital-secret', personalities: ['meditech'], redirect_folder: '{origin}/callback/' });
    assert.equal((await hospital('meditech', '/fhir/.well-known/smart-configuration')).status, 404);
    await registered('meditech', { auth: 'client_secret_post', id: 'for-this-hospital', secret: 'a-hospital-secret' });
    await works('meditech');
  });

  // --- payers ---

  test('quirk 50: expires_in with a fraction, the patient at userinfo', async () => {
    await start();
    await registered('blue-button', { auth: 'client_secret_basic', profile: 'bluebutton' });
    await works('blue-button');
  });

  test('quirk 51: single-use refresh tokens of a grant that ends', async () => {
    await refreshed('blue-button');
  });

  test('quirk 53: endpoints that end in a slash', async () => {
    await works('trailing-slash');
  });

  test('quirk 54: wild cards and unlisted scopes are refused', async () => {
    await start();
    await registered('uhc', { profile: 'uhc' });
    const { connection } = await works('uhc');
    assert.ok(!connection.scopes.some((s) => s.includes('/*.')));
  });

  test('quirk 55: one literal scope text', async () => {
    await start();
    await registered('healthpartners', { profile: 'healthpartners' });
    const { connection } = await works('healthpartners', { oneTime: true });
    assert.deepEqual([...connection.scopes].sort(), ['fhirUser', 'launch/patient', 'openid', 'patient/*.rs']);
  });

  // --- NextGen, Veradigm, athenaPractice and others ---

  test('quirk 57: unauthorized_client until the app is provisioned, then it works', async () => {
    await start();
    await operator(stack, 'POST', '/personalities', { name: 'slow-clinic', quirks: ['client-not-enabled'] });
    await importAll();
    await fails('slow-clinic', 'organization_not_enabled');
    await operator(stack, 'POST', '/personalities', { name: 'slow-clinic', quirks: [] });
    await works('slow-clinic');
  });

  test('quirk 58: token errors as 500 with expires_in 0', async () => {
    await fails('refused-in-500', 'client_rejected');
  });

  test('quirk 60: a document that tells next to nothing, and token answers that do not either', async () => {
    await works('silent-and-sparse');
  });

  // --- rules without a vendor, by section ---

  test('rule 1.1: endpoints in metadata alone, as text/plain, and relative', async () => {
    for (const name of ['oauth-uris-only', 'discovery-as-text', 'relative-endpoints']) await works(name);
  });

  test('rule 1.3: patients sign in on another host than the FHIR base\'s', async () => {
    await works('oauth-elsewhere');
  });

  test('rule 2.1: nothing that a standalone app must not send; nonce', async () => {
    await works('strict-request');
    await works('nonce-needed');
  });

  test('rule 2.1: PKCE refused, by profile', async () => {
    await start();
    await registered('qualifacts', { auth: 'client_secret_basic', profile: 'qualifacts' });
    await works('qualifacts');
  });

  test('rule 2.2: aud with the slash as published, without it, and not at all', async () => {
    await works('as-published');
    await registered('cigna', { profile: 'cigna' });
    await works('cigna');
    await registered('va', { profile: 'va' });
    await works('va');
  });

  test('rule 2.3: scopes that a vendor wants', async () => {
    await start();
    for (const [name, profile] of [['humana', 'humana'], ['kaiser', 'kaiser-sandbox']]) {
      await registered(name, { profile });
      await works(name);
    }
  });

  test('rule 3.1: a code of 2,400 characters that must be encoded, and one with a bare plus', async () => {
    await works('long-code');
    await works('plus-unencoded');
  });

  test('rule 3.1: a state that is cut at special characters comes back whole', async () => {
    await works('state-cut');
  });

  test('rule 3.1: the answer by a form', async () => {
    await works('answer-by-form');
  });

  test('rule 3.1: an answer in the fragment is none: a plain page, nothing connected', async () => {
    await start();
    const journey = await Journey.begin(stack, { connection_id: base('answer-in-fragment') });
    const page = await journey.consent(await journey.signIn(await journey.choose(undefined), 'Ida Leer'));
    assert.equal(page.status, 400);
    assert.equal(new URL(page.url).hash.startsWith('#code='), true, page.url);
    assert.deepEqual((await journey.read()).connections.filter((c) => c.status === 'active'), []);
  });

  test('rule 3.2: iss missing where it is announced, and another issuer\'s', async () => {
    await works('iss-silent');
    await fails('iss-forgotten', 'issuer_mismatch');
    await fails('iss-foreign', 'issuer_mismatch');
  });

  test('rule 3.4: a patient who takes away all records, and one who takes away some', async () => {
    await start();
    const few = await works('refresh-always', { keep: (scope) => !scope.startsWith('patient/') || scope.startsWith('patient/Patient') || scope.includes('*') });
    assert.equal(few.connection.status, 'active');
    await fails('refresh-always', 'scope_insufficient', { keep: (scope) => !scope.startsWith('patient/') });
  });

  test('rule 3.4: nobody names the patient, but a search of the token finds one', async () => {
    await works('found-by-search');
    await fails('no-patient-no-one', 'no_patient_context');
  });

  test('rule 3.4: a RelatedPerson signs in: the patient is the token\'s, never fhirUser\'s', async () => {
    await works('proxy-user', { patient: 'Jun Itō' });
    await fails('proxy-no-patient', 'no_patient_context', { patient: 'Jun Itō' });
  });

  test('rule 3.4: two children on one login are two connections', async () => {
    await start();
    const app = newId('family');
    await works('proxy-user', { app, patient: 'Jun Itō' });
    await works('proxy-user', { app, patient: 'Ida Leer' });
    const { connections } = (await stack.api('GET', `/patients/${app}`)).json;
    assert.deepEqual(connections.map((c) => c.status), ['active', 'active']);
    assert.equal(new Set(connections.map((c) => c.id)).size, 2);
  });

  test('rule 4.1: client_id in the form, and not beside Basic', async () => {
    await works('client-id-needed');
    await registered('client-id-refused', { auth: 'client_secret_basic' });
    await works('client-id-refused');
  });

  test('rule 4.1: HTTP Basic with a secret that the two encodings write differently', async () => {
    await start();
    const secret = 'p%41ss+w/rd=~';
    await operator(stack, 'POST', '/clients', { client_id: 'awkward', auth: 'client_secret_basic', secret, redirect_folder: '{origin}/callback/' });
    await registered('basic-raw', { auth: 'client_secret_basic', id: 'awkward', secret });
    await works('basic-raw');
  });

  test('rule 4.2: expires_in as float, text, zero, or not at all', async () => {
    for (const name of ['expires-float', 'expires-text']) {
      const { seconds } = await grantOf(await works(name));
      assert.ok(seconds > 3000 && seconds <= 3601, `${name}: ${seconds}`);
    }
    for (const name of ['expires-missing', 'expires-zero']) {
      const { seconds } = await grantOf(await works(name));
      assert.ok(seconds <= 3600, `${name}: ${seconds}`);
    }
  });

  test('rule 4.2: token_type missing, in lower case, and DPoP', async () => {
    for (const name of ['token-type-missing', 'token-type-lower']) await works(name);
    await fails('token-type-dpop', 'token_answer_invalid');
  });

  test('rule 4.2: tokens with blanks around them, and as text/html', async () => {
    await refreshed('tokens-padded');
    await works('token-as-html');
  });

  test('rule 4.2: scope missing, empty, and in the other dialect', async () => {
    for (const name of ['scope-missing', 'scope-in-v1', 'scope-empty']) await works(name);
  });

  test('rule 4.3: an id_token of another app or another login ends the attempt', async () => {
    await fails('id-token-other-nonce', 'id_token_invalid');
    await fails('id-token-other-audience', 'id_token_invalid');
  });

  test('rule 4.3: an id_token with a bad signature or issuer names nobody, but the token answer does', async () => {
    for (const name of ['id-token-bad-signature', 'id-token-other-issuer']) await works(name);
    await fails('unsigned-and-silent', 'no_patient_context');
  });

  test('rule 4.4: an error with 200', async () => {
    await fails('refused-in-200', 'client_rejected');
  });

  test('quirk 44: the refresh wants the scope again', async () => {
    await refreshed('athena');
  });

  test('quirk 56: no aud, no launch/patient, no patient in any token', async () => {
    await works('nextgen');
  });

  test('quirk 57: v1 scopes with fhiruser, a slash too many, the patient in the access token', async () => {
    await works('veradigm');
  });

  test('quirk 57: an authorization endpoint with a query', async () => {
    await works('altera');
    await works('authorize-query');
  });

  test('quirk 58: cut states, redirect_uri wanted at refresh', async () => {
    await refreshed('athenapractice');
  });

  test('rule 2.1: the authorization request by POST', async () => {
    await start();
    const types = (await operator(stack, 'GET', '/census')).patients.flatMap((p) => p.types.map((t) => t.type));
    const long = [...new Set(types)].flatMap((type) => ['rs', 'r', 's', 'read'].map((permission) => `patient/${type}.${permission}`));
    await registered('authorize-post-only', { scopes: ['openid fhirUser launch/patient offline_access', ...long].join(' ') });
    await works('authorize-post-only');
  });

  test('rule 5.5: unauthorized_client at refresh makes a one-time connection of it, which has ended', async () => {
    const { app } = await refreshes('refresh-refused');
    const [{ status, failure_code: code }] = (await stack.api('GET', `/patients/${app}`)).json.connections;
    assert.deepEqual([status, code], ['expired', 'access_ended']);
  });

  test('rule 5.1: a refresh that names another patient ends the connection', async () => {
    const { app } = await refreshes('refresh-other-patient');
    const [{ status, failure_code: code }] = (await stack.api('GET', `/patients/${app}`)).json.connections;
    assert.deepEqual([status, code], ['refresh_failed', 'patient_changed']);
  });

  // What an endpoint refuses is remembered: the patient tries again and comes through.
  async function learns(name, code, tries) {
    await start();
    for (let i = 1; i < tries; i++) {
      const got = await connect(name);
      if (got.success) return;
      assert.equal(got.error, code, `${name}, try ${i}`);
    }
    await works(name, { oneTime: name === 'offline-refused' });
  }

  test('rule 2.2: an endpoint that wants aud with a slash is met at the second try', async () => {
    await learns('aud-with-slash', 'oauth_callback_failed', 2);
  });

  test('rule 2.3: what an endpoint does not take as scope is learned', async () => {
    for (const name of ['wildcard-refused', 'v1-only', 'fhir-user-refused', 'offline-refused']) await learns(name, 'oauth_callback_failed', 5);
  });

  test('quirk 4: a public app registers itself where Epic lets it', async () => {
    await refreshed('epic-registering');
  });

  test('quirk 5: invalid_grant to the assertion of such an app ends the connection, and the patient is kept', async () => {
    const { app } = await refreshes('epic-unregistering');
    const [{ status }] = (await stack.api('GET', `/patients/${app}`)).json.connections;
    assert.equal(status, 'refresh_failed');
  });
}
