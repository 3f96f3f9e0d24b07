// SPDX-License-Identifier: Apache-2.0
// Attacks from outside: by hospitals that lie, by answers of portals, by browsers that are not the patient's, and by whoever holds half a key.

import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import http from 'node:http';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, after } from './lib/runner.mjs';
import { Browser } from './lib/browser.mjs';
import { answer, EvilHospital, Forbidden, HOSPITAL, STRANGER } from './lib/evil.mjs';
import { Journey, pullEnd } from './lib/patient.mjs';

const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const SECRET = 'attack-secret-0123456789';

export default function add(stack, { evilPort }) {
  const evil = new EvilHospital({ port: evilPort });
  const forbidden = new Forbidden();
  let started;
  const start = () => {
    started ??= (async () => {
      await evil.start();
      await forbidden.start();
      writeFileSync(path.join(stack.state, 'attack.secret'), `${SECRET}\n`, { mode: 0o600 });
      after(async () => {
        await evil.stop();
        forbidden.stop();
      });
    })();
    return started;
  };

  // A hospital with a registration of ours; where its discovery lies, only the host of its base is allowed.
  async function hospital(name, options = {}, { client = [], auth = 'client_secret_basic' } = {}) {
    await start();
    const scene = evil.scene(name, options);
    const file = path.join(stack.state, 'attack-source.json');
    writeFileSync(file, JSON.stringify({ Endpoints: [{ URL: scene.base, OrganizationName: `Attack ${name}`, NPIID: '', OrganizationZipCode: '' }] }));
    assert.match(await stack.ctl('source', 'import', file, '--env', 'sandbox'), /1 created/);
    const secret = auth === 'none' ? [] : ['--secret-file', path.join(stack.state, 'attack.secret')];
    await stack.ctl('client', 'add', '--source', scene.base, '--client-id', `client-${name}`, '--auth', auth, ...secret, '--slug', `attack-${name}`, ...client);
    return scene;
  }

  // The patient's whole way; gives the journey and the parameters of the return.
  async function connect(scene) {
    const journey = await Journey.begin(stack, { connection_id: scene.base });
    const page = await journey.choose(undefined);
    return { journey, page, back: page.location ? new URL(page.location).searchParams : new URLSearchParams() };
  }

  // As if nobody had ever asked this hospital where patients sign in: what was kept of it, good or bad, is gone.
  async function forget(name) {
    const columns = (await stack.sql("SELECT column_name FROM information_schema.columns WHERE table_schema = 'chartway' AND table_name = 'endpoint' AND column_name IN ('discovered_at', 'discovery_until', 'discovery_etag', 'discovery_failed_at', 'authorization_url', 'token_url', 'jwks_url', 'held_discovery')")).flat();
    await stack.sql(`UPDATE endpoint SET ${columns.map((column) => `${column} = NULL`).join(', ')} WHERE url LIKE '%/${name}/fhir'`);
  }

  const bundle = (link, entry = []) => answer({ resourceType: 'Bundle', type: 'searchset', entry, ...(link ? { link: [{ relation: 'next', url: link }] } : {}) });

  test('attack: a token goes to no other host by next, redirect, reference or attachment', async () => {
    const elsewhere = `http://${STRANGER}:${evilPort}/leak/fhir`;
    const own = `http://${HOSPITAL}:${evilPort}`;
    const document = {
      resourceType: 'DocumentReference', id: 'd1', status: 'current', subject: { reference: `${elsewhere}/Patient/p1` },
      author: [{ reference: `${own}@${STRANGER}:${evilPort}/leak/fhir/Practitioner/x` }, { reference: `//${STRANGER}:${evilPort}/leak/fhir/Practitioner/y` }],
      content: [`${elsewhere}/Binary/b1`, `${own}/other/fhir/Binary/b2`, `//${STRANGER}:${evilPort}/Binary/b3`, `${own}/leak/fhir/../../other/Binary/b4`, `${own}/leak/fhir/%2e%2e/%2e%2e/other/Binary/b5`]
        .map((url) => ({ attachment: { contentType: 'application/pdf', url } })),
    };
    const scene = await hospital('leak', {
      pages: {
        Observation: (url) => (url.searchParams.has('page') ? bundle() : bundle(`${own}/leak/fhir/Observation?patient=p1&page=2`)),
        Condition: bundle(`${elsewhere}/Condition?page=2`),
        Encounter: bundle(`//${STRANGER}:${evilPort}/leak/fhir/Encounter?page=2`),
        Procedure: bundle(`http://${HOSPITAL}:${evilPort}@${STRANGER}:${evilPort}/leak/fhir/Procedure?page=2`),
        Immunization: bundle(`${own}/other/fhir/Immunization?page=2`),
        AllergyIntolerance: { status: 302, headers: { location: `${elsewhere}/AllergyIntolerance` } },
        Goal: { status: 307, headers: { location: `${own}/other/fhir/Goal` } },
        DocumentReference: bundle(undefined, [{ resource: document }]),
      },
    });
    evil.scene('other');
    const { journey, back } = await connect(scene);
    assert.equal(back.get('success'), 'true', `${back}`);
    const pull = await pullEnd(stack, journey.session.patient_id);
    assert.notEqual(pull.status, 'complete', 'what was not followed is not called whole');
    const withToken = evil.requests.filter((r) => (r.headers.authorization ?? '').includes('access-of-leak'));
    assert.ok(withToken.some((r) => r.path.includes('page=2') && r.path.startsWith('/leak/fhir/Observation')), 'its own next is followed');
    assert.deepEqual(withToken.filter((r) => r.host !== HOSPITAL || !r.path.startsWith('/leak/fhir/')).map((r) => `${r.host}${r.path}`), []);
    for (const secret of ['access-of-leak', 'refresh-of-leak', SECRET]) assert.deepEqual(evil.leaks(STRANGER, secret), []);
    assert.deepEqual(evil.seen(HOSPITAL, 'other').filter((r) => r.headers.authorization), []);
  });

  test('attack: the base that is asked for is the one that is told, whatever discovery says', async () => {
    const scene = await hospital('aud', { discovery: { resource: `http://${STRANGER}:${evilPort}/x`, aud: `http://${STRANGER}:${evilPort}/x`, fhir_base: `http://${STRANGER}:${evilPort}/x` } });
    const { journey, back } = await connect(scene);
    assert.equal(back.get('success'), 'true');
    assert.equal(scene.authorize.aud, scene.base);
    assert.equal(scene.authorize.resource, undefined);
    await pullEnd(stack, journey.session.patient_id);
    assert.deepEqual(evil.leaks(STRANGER, 'of-aud'), []);
  });

  test('attack: endpoints that move to another host get no code, secret or token', async () => {
    const scene = await hospital('move');
    const { journey, back } = await connect(scene);
    assert.equal(back.get('success'), 'true');
    await pullEnd(stack, journey.session.patient_id);
    const there = `http://${STRANGER}:${evilPort}/move`;
    scene.discovery = { token_endpoint: `${there}/token`, revocation_endpoint: `${there}/revoke`, registration_endpoint: `${there}/register`, jwks_uri: `${there}/jwks` };
    // The old connection goes on with what was pinned.
    const before = scene.tokens;
    await stack.sql(`UPDATE token_grant g JOIN connection c ON c.id = g.connection JOIN patient p ON p.id = c.patient SET g.expires_at = '2020-01-01' WHERE p.patient_id = '${journey.session.patient_id}'`);
    await stack.ctl('pull', 'start', '--patient', journey.session.patient_id, '--org', stack.org);
    await pullEnd(stack, journey.session.patient_id, { count: 2 });
    assert.ok(scene.tokens > before, 'it was refreshed where it always was');
    // A new one, when the kept document has run out, waits for the operator.
    await stack.ctl('source', 'profile', scene.base, '--forget');
    const { back: held } = await connect(scene);
    assert.equal(held.get('success'), 'false');
    for (const secret of ['of-move', SECRET, Buffer.from(`client-move:${SECRET}`).toString('base64')]) assert.deepEqual(evil.leaks(STRANGER, secret), [], secret);
  });

  test('attack: a hospital with another\'s token, revocation or registration endpoint from the start', async () => {
    const there = `http://${STRANGER}:${evilPort}/start`;
    // The registration names the host of the base; what discovery names beside it is not the operator's word.
    const stolen = await hospital('start-token', { discovery: { token_endpoint: `${there}/token` } }, { client: ['--host', `${HOSPITAL}:${evilPort}`] });
    const { back } = await connect(stolen);
    assert.equal(back.get('success'), 'false');
    const quiet = await hospital('start-revoke', { token: { patient: undefined, id_token: undefined }, discovery: { revocation_endpoint: `${there}/revoke`, registration_endpoint: `${there}/register`, introspection_endpoint: `${there}/introspect` } }, { client: ['--host', `${HOSPITAL}:${evilPort}`] });
    const { back: failed } = await connect(quiet); // no patient: tokens are given back
    assert.equal(failed.get('success'), 'false');
    for (const secret of ['code-of-start', 'of-start-revoke', SECRET, Buffer.from(`client-start-revoke:${SECRET}`).toString('base64')]) assert.deepEqual(evil.leaks(STRANGER, secret), [], secret);
  });

  test('attack: a hospital that has our key registered elsewhere gets no token there', async () => {
    const there = `http://${STRANGER}:${evilPort}/register`;
    const scene = await hospital('register', { token: { refresh_token: undefined }, discovery: { registration_endpoint: there, userinfo_endpoint: `${there}/userinfo` } },
      { auth: 'none', client: ['--profile', 'epic', '--host', `${HOSPITAL}:${evilPort}`] });
    const { journey, back } = await connect(scene);
    assert.equal(back.get('success'), 'true', `${back}`);
    await pullEnd(stack, journey.session.patient_id);
    assert.deepEqual(evil.seen(STRANGER, 'register'), [], 'nobody was asked there');
    assert.deepEqual(evil.leaks(STRANGER, 'access-of-register'), []);
  });

  // Each must not be believed: the token answer names no patient, and the only one who does is the id_token.
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const attacker = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' };
  const attackerJwk = { ...attacker.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' };
  const compact = (header, claims, make) => {
    const text = `${b64(header)}.${b64(claims)}`;
    return `${text}.${make(text)}`;
  };
  const by = (key, hash = 'sha256') => (text) => sign(hash, Buffer.from(text), key.privateKey).toString('base64url');
  const hmac = (key, hash = 'sha256') => (text) => createHmac(hash, key).update(text).digest('base64url');
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' });
  const forged = [
    ['alg none, no signature', (c) => compact({ alg: 'none' }, c, () => '')],
    ['alg None with the true kid', (c) => compact({ alg: 'None', kid: 'k1' }, c, () => '')],
    ['alg missing', (c) => compact({ kid: 'k1' }, c, by(rsa))],
    ['HS256 with the public key as PEM', (c) => compact({ alg: 'HS256', kid: 'k1' }, c, hmac(pem))],
    ['HS256 with the public key as PEM without its last line break', (c) => compact({ alg: 'HS256', kid: 'k1' }, c, hmac(pem.trim()))],
    ['HS256 with the public key as DER', (c) => compact({ alg: 'HS256', kid: 'k1' }, c, hmac(rsa.publicKey.export({ type: 'spki', format: 'der' })))],
    ['HS256 with the modulus', (c) => compact({ alg: 'HS256', kid: 'k1' }, c, hmac(Buffer.from(jwk.n, 'base64url')))],
    ['HS256 with the key set', (c) => compact({ alg: 'HS256', kid: 'k1' }, c, hmac(JSON.stringify({ keys: [jwk] })))],
    ['RS384 where the key says RS256', (c) => compact({ alg: 'RS384', kid: 'k1' }, c, by(rsa, 'sha384'))],
    ['the algorithm of another kind of key', (c) => compact({ alg: 'ES256', kid: 'k1' }, c, by(rsa))],
    ['signed by a stranger', (c) => compact({ alg: 'RS256', kid: 'k1' }, c, by(attacker))],
    ['an embedded key', (c) => compact({ alg: 'RS256', kid: 'k1', jwk: attackerJwk }, c, by(attacker))],
    ['a jku', (c) => compact({ alg: 'RS256', kid: 'k1', jku: `http://${STRANGER}:${evilPort}/jku` }, c, by(attacker))],
    ['an x5u and an x5c', (c) => compact({ alg: 'RS256', kid: 'k1', x5u: `http://${STRANGER}:${evilPort}/x5u`, x5c: [b64('cert')] }, c, by(attacker))],
    ['a kid that climbs', (c) => compact({ alg: 'RS256', kid: '../../../../dev/null' }, c, by(attacker))],
    ['a kid of SQL', (c) => compact({ alg: 'RS256', kid: "k1' OR '1'='1" }, c, by(attacker))],
    ['a kid that is a list', (c) => compact({ alg: 'RS256', kid: ['k1'] }, c, by(rsa))],
    ['a critical extension', (c) => compact({ alg: 'RS256', kid: 'k1', crit: ['b64'], b64: false }, c, by(rsa))],
    ['claims changed after signing', (c) => compact({ alg: 'RS256', kid: 'k1' }, { ...c, fhirUser: 'Patient/p1' }, by(rsa)).replace(/\.[^.]*\./, `.${b64(c)}.`)],
    ['another issuer', (c) => compact({ alg: 'RS256', kid: 'k1' }, { ...c, iss: 'https://evil.example' }, by(rsa))],
    ['expired', (c) => compact({ alg: 'RS256', kid: 'k1' }, { ...c, exp: 1700000000 }, by(rsa))],
  ];
  const keySet = { keys: [jwk, { kty: 'oct', kid: 'k1', k: b64('weak'), alg: 'HS256' }] };

  test('attack: id_tokens that are forged name no patient', async () => {
    let make;
    const scene = await hospital('forged', {
      pages: { jwks: answer(keySet) },
      token: (form, { root, authorize }) => {
        const now = Math.floor(Date.now() / 1000);
        const claims = { iss: root, aud: 'client-forged', sub: 's1', iat: now, exp: now + 300, nonce: authorize.nonce, fhirUser: `${root}/fhir/Patient/victim` };
        return { patient: undefined, id_token: make(claims) };
      },
    });
    make = (c) => compact({ alg: 'RS256', kid: 'k1' }, c, by(rsa));
    const { back } = await connect(scene);
    assert.equal(back.get('success'), 'true', `a good one is believed: ${back}`);
    for (const [name, forge] of forged) {
      make = forge;
      const { back: refused } = await connect(scene);
      assert.equal(refused.get('success'), 'false', name);
      assert.equal(refused.get('error'), 'no_patient_context', name);
    }
    assert.deepEqual(evil.seen(STRANGER).filter((r) => /jku|x5u/.test(r.path)), [], 'no key is fetched from where a token says');
  });

  test('attack: an id_token of another client or another sign-in ends the attempt', async () => {
    for (const [name, wrong] of [['aud', { aud: 'client-somebody' }], ['azp', { azp: 'client-somebody' }], ['nonce', { nonce: 'of-another-sign-in' }]]) {
      const scene = await hospital(`injected-${name}`, {
        pages: { jwks: answer(keySet) },
        token: (form, { root, authorize, name: of }) => {
          const now = Math.floor(Date.now() / 1000);
          return { id_token: compact({ alg: 'RS256', kid: 'k1' }, { iss: root, aud: `client-${of}`, sub: 's1', iat: now, exp: now + 300, nonce: authorize.nonce, ...wrong }, by(rsa)) };
        },
      });
      const { journey, back } = await connect(scene);
      assert.equal(back.get('success'), 'false', name);
      assert.equal((await journey.read()).connections[0].status, 'failed');
    }
  });

  test('attack: API keys and states by other algorithms', async () => {
    const [prefix] = /^cw_sk_[a-z]+_/.exec(stack.key);
    const [, claims, signature] = stack.key.slice(prefix.length).split('.');
    const body = { patient_id: 'attack', return_url: 'https://app.example/' };
    assert.equal((await stack.api('POST', '/patient-sessions', body)).status, 200, 'the key itself is good');
    const header = JSON.parse(Buffer.from(stack.key.slice(prefix.length).split('.')[0], 'base64url').toString());
    const keys = [
      `${b64({ ...header, alg: 'none' })}.${claims}.`, `${b64({ ...header, alg: 'none' })}.${claims}.${signature}`, `${b64({ ...header, alg: 'HS512' })}.${claims}.${signature}`,
      `${b64({ ...header, alg: 'RS256' })}.${claims}.${signature}`, `${b64({ ...header, kid: '../../dev/null' })}.${claims}.${hmac('')(`${b64({ ...header, kid: '../../dev/null' })}.${claims}`)}`,
      `${b64(header)}.${claims}.${hmac('')(`${b64(header)}.${claims}`)}`, `${b64({ ...header, jwk: { kty: 'oct', k: b64('x') } })}.${claims}.${hmac('x')(`${b64({ ...header, jwk: { kty: 'oct', k: b64('x') } })}.${claims}`)}`,
    ];
    for (const key of keys) assert.equal((await stack.api('POST', '/patient-sessions', body, { key: `${prefix}${key}` })).status, 401, key.slice(0, 60));
    const journey = await Journey.begin(stack, { connection_id: stack.hospital });
    const portal = await journey.choose(undefined);
    const state = new URL(portal.url).searchParams.get('state');
    const [h, c, s] = Buffer.from(state, 'base64url').toString().split('.');
    const stateHeader = JSON.parse(Buffer.from(h, 'base64url').toString());
    for (const forgedState of [`${b64({ ...stateHeader, alg: 'none' })}.${c}.`, `${b64({ ...stateHeader, alg: 'none' })}.${c}.${s}`, `${h}.${c}.${hmac('')(`${h}.${c}`)}`]) {
      const page = await journey.browser.open(`${stack.url}/callback/sandbox?code=x&state=${b64(forgedState)}`);
      assert.equal(page.status, 400);
    }
    assert.equal((await journey.read()).connections[0]?.failure_code ?? null, null, 'the true attempt is untouched');
  });

  test('attack: discovery, key sets and redirects lead to no internal address', async () => {
    await start();
    const { port } = forbidden;
    const inside = [`http://127.0.0.1:${port}`, `https://127.0.0.1:${port}`, `http://2130706433:${port}`, `http://0x7f.1:${port}`, `http://0177.0.0.1:${port}`, `http://localhost:${port}`, `http://localhost.:${port}`,
      `http://[::1]:${port}`, `http://[::ffff:127.0.0.1]:${port}`, `http://[::ffff:7f00:1]:${port}`, `http://0.0.0.0:${port}`, `http://127.1:${port}`, 'https://169.254.169.254/latest/meta-data', 'https://[fd00:ec2::254]',
      `http://user@127.0.0.1:${port}`, `http://${HOSPITAL}:${evilPort}@127.0.0.1:${port}`, 'file:///etc/passwd', 'gopher://127.0.0.1/_x', `//127.0.0.1:${port}`];
    const documents = () => evil.seen(HOSPITAL, 'ssrf').filter((r) => r.path.includes('.well-known')).length;
    const scene = await hospital('ssrf', {}, { client: ['--host', '127.0.0.1', '--host', 'localhost', '--host', '0.0.0.0'] });
    for (const where of inside) {
      for (const discovery of [{ token_endpoint: `${where}/token` }, { status: 302, headers: { location: `${where}/.well-known/smart-configuration` } }]) {
        scene.discovery = discovery;
        await forget('ssrf');
        const asked = documents();
        const { back } = await connect(scene);
        assert.equal(back.get('success'), 'false', `${where} ${JSON.stringify(discovery)}`);
        assert.ok(documents() > asked, 'its document was read, and then not followed');
      }
      scene.discovery = { jwks_uri: `${where}/jwks` };
      scene.token = { patient: undefined, id_token: compact({ alg: 'RS256', kid: 'k1' }, { aud: 'client-ssrf', iss: scene.root }, by(rsa)) };
      await forget('ssrf');
      const exchanges = scene.tokens;
      const { back } = await connect(scene);
      assert.equal(back.get('success'), 'false', where);
      assert.ok(scene.tokens > exchanges || /^(file|gopher|http:\/\/user|http:\/\/127.0.0.1:\d+@)/.test(where), `${where}: its id_token was there to be checked`);
      scene.token = {};
    }
    assert.equal(forbidden.visits, 0, 'nobody came to the forbidden port');
  });

  test('attack: an import takes no internal host', async () => {
    await start();
    const urls = ['http://127.0.0.1/fhir', 'https://127.0.0.1/fhir', 'https://2130706433/fhir', 'https://0x7f.1/fhir', 'https://017700000001/fhir', 'https://localhost/fhir', 'https://LOCALHOST./fhir', 'https://[::1]/fhir', 'https://[::ffff:10.0.0.1]/fhir',
      'https://[fe80::1%25eth0]/fhir', 'https://10.1.2.3/fhir', 'https://192.168.0.10/fhir', 'https://169.254.169.254/fhir', 'https://INSCMQAES51/fhir', 'https://intranet/fhir', 'https://ehr.local/fhir', 'https://ehr.internal/fhir', 'https://db.localhost/fhir', 'https://0.0.0.0/fhir',
      'https://user:pw@hospital.example/fhir', 'ftp://hospital.example/fhir', 'https://intranet./fhir', 'https://ehr.local./fhir'];
    const file = path.join(stack.state, 'attack-internal.json');
    writeFileSync(file, JSON.stringify({ Endpoints: urls.map((URL, i) => ({ URL, OrganizationName: `Inside ${i}`, NPIID: '', OrganizationZipCode: '' })) }));
    const report = await stack.ctl('source', 'import', file, '--env', 'sandbox');
    const rows = await stack.ctlJson('source', 'list', '--query', 'Inside');
    assert.match(report, /\b0 created/, `${report} ${JSON.stringify(rows)}`);
  });

  test('attack: mix-up: the answer to one registration brought to another', async () => {
    const honest = await hospital('honest');
    const wicked = await hospital('wicked');
    const journey = await Journey.begin(stack);
    // The honest hospital's answer, with its true state and code, is taken to the path of the wicked one.
    const stopped = await journey.browser.submit(await journey.open(), (await journey.open()).forms.find((f) => f.method === 'GET'), { q: 'Attack honest' });
    const form = stopped.form((f) => f.action.endsWith('/start'));
    const away = await journey.browser.submit(stopped, form, {}, { button: form.buttons.find((b) => b.name === 'source')?.value, stopAt: (target) => target.pathname.startsWith('/callback/') });
    const answerUrl = new URL(away.location);
    assert.match(answerUrl.pathname, /attack-honest$/);
    const crossed = new URL(answerUrl);
    crossed.pathname = '/callback/attack-wicked';
    const page = await journey.browser.open(crossed.href);
    assert.equal(page.status, 400);
    assert.equal(page.location, undefined);
    assert.equal(wicked.tokens, 0);
    assert.equal(honest.tokens, 0);
    assert.equal((await journey.browser.open(answerUrl.href)).status, 200, 'at its own path it is good');
    assert.equal(honest.tokens, 1);
    assert.deepEqual(evil.seen(HOSPITAL, 'wicked').filter((r) => r.body.includes('code-of-honest')), []);
  });

  // Stops before the callback is called; gives its URL.
  async function toCallback(journey, name) {
    const page = await journey.signIn(await journey.choose(undefined), name);
    return (await journey.consent(page, { stopAt: (target) => target.pathname.startsWith('/callback/') })).location;
  }

  test('attack: a code of somebody else\'s sign-in in one\'s own state', async () => {
    const attackers = await Journey.begin(stack, { connection_id: stack.hospital });
    const victims = await Journey.begin(stack, { connection_id: stack.hospital });
    const stolen = new URL(await toCallback(attackers, 'Walter Brandvold')).searchParams.get('code');
    const url = new URL(await toCallback(victims, 'Ida Leer'));
    url.searchParams.set('code', stolen);
    const back = new URL((await victims.browser.open(url.href)).location);
    assert.equal(back.searchParams.get('success'), 'false', 'the verifier does not fit the code');
    assert.equal((await victims.read()).connections[0].status, 'failed');
    const patient = (await stack.api('GET', `/patients/${victims.session.patient_id}`)).json;
    assert.ok(patient.connections.every((c) => c.status === 'failed'));
  });

  test('attack: the state of one browser in another that has a cookie of its own', async () => {
    const first = await Journey.begin(stack, { connection_id: stack.hospital });
    const second = await Journey.begin(stack, { connection_id: stack.hospital });
    const firstUrl = await toCallback(first, 'Ida Leer');
    const secondUrl = await toCallback(second, 'Jun Itō');
    const page = await second.browser.open(firstUrl);
    assert.ok(!(page.location ?? '').startsWith('https://app.example'), `${page.location}`);
    assert.equal((await first.read()).connections[0].failure_code, 'browser_mismatch');
    const back = new URL((await second.browser.open(secondUrl)).location);
    assert.equal(back.searchParams.get('success'), 'true', 'its own is not harmed');
    // Both cookies at once are nobody's.
    const third = await Journey.begin(stack, { connection_id: stack.hospital });
    const thirdUrl = await toCallback(third, 'Ida Leer');
    const cookie = [...third.browser.cookies(stack.url), ...second.browser.cookies(stack.url)].join('; ');
    const tossed = await fetch(thirdUrl, { redirect: 'manual', headers: { cookie } });
    assert.ok(!(tossed.headers.get('location') ?? '').startsWith('https://app.example'));
  });

  test('attack: no redirect to where a request says', async () => {
    const stranger = 'https://evil.example/';
    const journey = await Journey.begin(stack, { connection_id: stack.hospital });
    const good = new URL(await toCallback(journey, 'Ida Leer'));
    const words = ['return_url', 'redirect', 'redirect_uri', 'next', 'url', 'continue', 'target', 'error_uri', 'RelayState'].map((name) => `${name}=${encodeURIComponent(stranger)}`).join('&');
    for (const url of [`${stack.url}/callback/sandbox?state=x&code=y&${words}`, `${stack.url}/callback/sandbox?error=access_denied&${words}`, `${stack.url}/callback//evil.example?${words}`, `${stack.url}/callback/evil.example%2f?${words}`, `${stack.url}//evil.example/c/x?${words}`]) {
      const page = await fetch(url, { redirect: 'manual' });
      assert.ok(page.status >= 400, `${page.status} ${url}`);
      assert.equal(page.headers.get('location'), null);
      assert.ok(!(await page.text()).includes('evil.example'), url);
    }
    const back = await journey.browser.open(`${good.href}&${words}`);
    assert.equal(new URL(back.location).host, 'app.example');
    assert.ok(!back.location.includes('evil'));
  });

  // No attack, but the one fault in which a code is spent and nothing may be lost; it needs a hospital that plays along.
  test('fault: the database dies while a code is exchanged, and the sign-in still stands', async () => {
    const scene = await hospital('fault-db', { token: () => {
      process.kill(stack.pid('mariadb'), 'SIGKILL'); // the supervisor starts another
      return {};
    } });
    const { back, journey } = await connect(scene);
    assert.equal(back.get('success'), 'true');
    assert.equal((await journey.read()).connections[0].status, 'active');
    assert.equal(scene.tokens, 1, 'a code is sent once');
  });

  test('attack: the Host header chooses nothing', async () => {
    const journey = await Journey.begin(stack);
    const ask = (pathname, headers) => new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port: stack.port, path: pathname, headers }, (r) => {
        let text = '';
        r.on('data', (part) => { text += part; }).on('end', () => resolve({ status: r.statusCode, text: `${JSON.stringify(r.headers)}${text}` }));
      }).on('error', reject);
    });
    for (const headers of [{ host: 'evil.example' }, { host: `127.0.0.1:${stack.port}`, 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https', forwarded: 'host=evil.example', 'x-original-url': '/evil.example' }]) {
      for (const pathname of [new URL(journey.session.url).pathname, '/callback/sandbox?state=x', '/.well-known/jwks.json']) {
        assert.ok(!(await ask(pathname, headers)).text.includes('evil.example'), pathname);
      }
    }
  });
}
