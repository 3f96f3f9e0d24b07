// SPDX-License-Identifier: Apache-2.0
// The same path against an authorization server that was not written here: all four ways to show who we are, assertions in both
// algorithms, PKCE required, refresh tokens that rotate and whose reuse it detects.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, after } from './lib/runner.mjs';
import { AuthorizationServer, signIn } from './lib/oidc.mjs';
import { awkwardRecord, FhirServer } from './lib/fhir.mjs';
import { allRecords, Journey, pullEnd } from './lib/patient.mjs';
import { members } from './lib/rawjson.mjs';
import { until } from './lib/stack.mjs';


const CLIENTS = [
  { name: 'none', auth: 'none' },
  { name: 'basic', auth: 'client_secret_basic', whole: true },
  { name: 'post', auth: 'client_secret_post' },
  { name: 'rs384', auth: 'private_key_jwt', alg: 'RS384' },
  { name: 'es384', auth: 'private_key_jwt', alg: 'ES384', profile: 'es384' }, // the profile is of this run, see run.mjs
];
const SECRET = 'plain-secret-0123456789';
// One whole record, with what JSON tools like to change; the others are quick.
const record = ({ name, whole }) => awkwardRecord(`p-${name}`, whole ? {} : { observations: 3 });

export default function add(stack, { fhirPort, portalPort }) {
  let server;
  let fhir;
  const start = async () => {
    if (server) return;
    const jwks_uri = `${stack.url}/.well-known/jwks.json`;
    const redirect = (slug) => [`${stack.url}/callback/${slug}`];
    const common = { response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'] };
    const scopes = ['openid', 'offline_access', 'fhirUser', 'launch/patient', 'patient/*.read'];
    server = new AuthorizationServer({
      port: portalPort,
      scopes,
      tokenSeconds: 20,
      patientOf: (account) => `p-${account}`,
      clients: CLIENTS.map(({ name, auth, alg }) => ({
        ...common,
        client_id: name,
        token_endpoint_auth_method: auth,
        redirect_uris: redirect(`oidc-${name}`),
        ...(auth.startsWith('client_secret') ? { client_secret: SECRET } : {}),
        ...(alg ? { token_endpoint_auth_signing_alg: alg, jwks_uri } : {}),
      })),
    });
    await server.start();
    fhir = new FhirServer({ port: fhirPort });
    for (const client of CLIENTS) fhir.add(client.name, { server, resources: record(client), delayMs: 5 });
    await fhir.start();
    after(async () => {
      await fhir.stop();
      await server.stop();
    });
    const file = path.join(stack.state, 'oidc-sources.json');
    writeFileSync(file, JSON.stringify({ Endpoints: CLIENTS.map(({ name }) => ({ URL: fhir.base(name), OrganizationName: `Foreign ${name} hospital`, NPIID: '', OrganizationZipCode: '02139' })) }));
    assert.match(await stack.ctl('source', 'import', file, '--env', 'sandbox'), /5 created/);
    const secret = path.join(stack.state, 'oidc.secret');
    writeFileSync(secret, `${SECRET}\n`, { mode: 0o600 });
    for (const { name, auth, profile } of CLIENTS) {
      await stack.ctl('client', 'add', '--source', fhir.base(name), '--client-id', name, '--auth', auth, '--slug', `oidc-${name}`, '--scopes', scopes.join(' '),
        ...(auth.startsWith('client_secret') ? ['--secret-file', secret] : []), ...(profile ? ['--profile', profile] : []));
    }
    assert.match(await stack.ctl('doctor', fhir.base('rs384')), /^ok +client_registration/m);
  };

  for (const client of CLIENTS) {
    const { name } = client;
    test(`oidc-provider by ${client.auth} (${name}): connect, pull byte for byte, refresh with rotation`, async () => {
      await start();
      const journey = await Journey.begin(stack, { connection_id: fhir.base(name) });
      const portal = await journey.choose(undefined);
      const back = await signIn(journey.browser, portal, name);
      const target = new URL(back.location ?? back.url);
      assert.equal(target.searchParams.get('success'), 'true', `${target} ${server.faults.join('; ')}`);
      const pull = await pullEnd(stack, journey.session.patient_id);
      assert.equal(pull.status, 'complete', await stack.ctl('pull', 'status', '--patient', journey.session.patient_id, '--org', stack.org, '--tasks'));
      const wanted = new Map(record(client).map((raw) => [`${JSON.parse(raw).resourceType}/${JSON.parse(raw).id}`, raw]));
      const got = await allRecords(stack, journey.session.patient_id);
      assert.equal(got.length, wanted.size);
      for (const raw of got) {
        const { resourceType, id } = JSON.parse(raw);
        if (resourceType !== 'Patient') assert.equal(raw, wanted.get(`${resourceType}/${id}`));
        else assert.ok(members(raw).get('identifier').includes(`"${journey.session.patient_id}"`), 'the app\'s id is in Patient.identifier');
      }
      const refreshes = server.refreshes;
      const grant = `token_grant g JOIN connection c ON c.id = g.connection JOIN patient p ON p.id = c.patient`;
      const whose = `p.patient_id = '${journey.session.patient_id}'`;
      if (client.whole) {
        await until('the token to run out', async () => Number((await stack.sql(`SELECT COUNT(*) FROM ${grant} WHERE ${whose} AND g.expires_at < UTC_TIMESTAMP(3) + INTERVAL 8 SECOND`))[0][0]) === 1);
      } else {
        await stack.sql(`UPDATE ${grant} SET g.expires_at = UTC_TIMESTAMP(3) WHERE ${whose}`);
      }
      await stack.ctl('pull', 'start', '--patient', journey.session.patient_id, '--org', stack.org);
      const second = await pullEnd(stack, journey.session.patient_id, { count: 2 });
      assert.equal(second.status, 'complete', JSON.stringify(second));
      assert.equal(second.stored, 0, 'an unchanged record costs no write');
      assert.ok(server.refreshes > refreshes, 'the token was refreshed');
      assert.equal(Number((await stack.sql(`SELECT g.rotates FROM ${grant} WHERE ${whose}`))[0][0]), 1, 'the refresh token is a new one');
      // The doctor and the daily probe present a token that nobody ever had; a reuse would be told as one.
      assert.deepEqual(server.faults.filter((fault) => !fault.includes('refresh token not found')), []);
    });
  }

}
