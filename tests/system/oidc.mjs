// SPDX-License-Identifier: Apache-2.0
// The same path against an authorization server that was not written here, by both ways to show who we are.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, after } from './lib/runner.mjs';
import { AuthorizationServer, signIn } from './lib/oidc.mjs';
import { awkwardRecord, FhirServer } from './lib/fhir.mjs';
import { allRecords, Journey, pullEnd } from './lib/patient.mjs';
import { members } from './lib/rawjson.mjs';
import { until } from './lib/stack.mjs';


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
      clients: [
        { ...common, client_id: 'basic', client_secret: 'plain-secret-0123456789', token_endpoint_auth_method: 'client_secret_basic', redirect_uris: redirect('oidc-basic') },
        { ...common, client_id: 'jwt', token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'RS384', jwks_uri, redirect_uris: redirect('oidc-jwt') },
      ],
    });
    await server.start();
    fhir = new FhirServer({ port: fhirPort });
    for (const name of ['basic', 'jwt']) fhir.add(name, { server, resources: awkwardRecord(`p-${name}`), delayMs: 5 });
    await fhir.start();
    after(async () => {
      await fhir.stop();
      await server.stop();
    });
    const file = path.join(stack.state, 'oidc-sources.json');
    writeFileSync(file, JSON.stringify({ Endpoints: ['basic', 'jwt'].map((name) => ({ URL: fhir.base(name), OrganizationName: `Foreign ${name} hospital`, NPIID: '', OrganizationZipCode: '02139' })) }));
    assert.match(await stack.ctl('source', 'import', file, '--env', 'sandbox'), /2 created/);
    const secret = path.join(stack.state, 'oidc.secret');
    writeFileSync(secret, 'plain-secret-0123456789\n', { mode: 0o600 });
    await stack.ctl('client', 'add', '--source', fhir.base('basic'), '--client-id', 'basic', '--auth', 'client_secret_basic', '--secret-file', secret, '--slug', 'oidc-basic', '--scopes', scopes.join(' '));
    await stack.ctl('client', 'add', '--source', fhir.base('jwt'), '--client-id', 'jwt', '--auth', 'private_key_jwt', '--slug', 'oidc-jwt', '--scopes', scopes.join(' '));
    assert.match(await stack.ctl('doctor', fhir.base('jwt')), /client_registration +ok/);
  };

  for (const name of ['basic', 'jwt']) {
    test(`oidc-provider by ${name}: connect, pull byte for byte, refresh with rotation`, async () => {
      await start();
      const journey = await Journey.begin(stack, { connection_id: fhir.base(name) });
      const portal = await journey.choose(undefined);
      const back = await signIn(journey.browser, portal, name);
      const target = new URL(back.location ?? back.url);
      assert.equal(target.searchParams.get('success'), 'true', `${target} ${server.faults.join('; ')}`);
      const pull = await pullEnd(stack, journey.session.patient_id);
      assert.equal(pull.status, 'complete', await stack.ctl('pull', 'status', '--patient', journey.session.patient_id, '--org', stack.org, '--tasks'));
      const wanted = new Map(awkwardRecord(`p-${name}`).map((raw) => [`${JSON.parse(raw).resourceType}/${JSON.parse(raw).id}`, raw]));
      const got = await allRecords(stack, journey.session.patient_id);
      assert.equal(got.length, wanted.size);
      for (const raw of got) {
        const { resourceType, id } = JSON.parse(raw);
        if (resourceType !== 'Patient') assert.equal(raw, wanted.get(`${resourceType}/${id}`));
        else assert.ok(members(raw).get('identifier').includes(`"${journey.session.patient_id}"`), 'the app\'s id is in Patient.identifier');
      }
      const refreshes = server.refreshes;
      await until('the token to run out', async () => Number((await stack.sql(`SELECT COUNT(*) FROM token_grant g JOIN connection c ON c.id = g.connection JOIN patient p ON p.id = c.patient WHERE p.patient_id = '${journey.session.patient_id}' AND g.expires_at < UTC_TIMESTAMP(3) + INTERVAL 8 SECOND`))[0][0]) === 1);
      await stack.ctl('pull', 'start', '--patient', journey.session.patient_id, '--org', stack.org);
      const second = await pullEnd(stack, journey.session.patient_id, { count: 2 });
      assert.equal(second.status, 'complete', JSON.stringify(second));
      assert.equal(second.stored, 0, 'an unchanged record costs no write');
      assert.ok(server.refreshes > refreshes, 'the token was refreshed');
      assert.deepEqual(server.faults, []);
    });
  }

}
