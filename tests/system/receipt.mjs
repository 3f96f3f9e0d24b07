// SPDX-License-Identifier: Apache-2.0
// What is told of a pull is true: by the hospital's own diary, by our key set and node's crypto alone, and while it runs.

import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { until } from './lib/stack.mjs';
import { Journey, newId, operator, pullEnd } from './lib/patient.mjs';

const SITE = 'receipt-hospital';
const PARTIAL = 'receipt-partial';
const QUINN = 'Quinn Quirk';
const ASKED = 'openid fhirUser launch/patient offline_access patient/Patient.rs patient/Condition.rs patient/Goal.rs patient/AllergyIntolerance.rs';

// As an app would that knows nothing but the JWKS URL.
async function verified(stack, answer) {
  const [header, claims, signature] = answer.signature.split('.');
  const { alg, typ, kid } = JSON.parse(Buffer.from(header, 'base64url'));
  assert.deepEqual([alg, typ], ['ES384', 'pull-receipt+jws']);
  const { keys } = await (await fetch(`${stack.url}/.well-known/jwks.json`)).json();
  const jwk = keys.find((k) => k.kid === kid);
  assert.ok(jwk, `${kid} is published`);
  const key = createPublicKey({ key: jwk, format: 'jwk' });
  const good = verify('sha384', Buffer.from(`${header}.${claims}`), { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'));
  const said = JSON.parse(Buffer.from(claims, 'base64url'));
  const hash = createHash('sha256').update(JSON.stringify(answer.receipt)).digest('hex');
  return good && said.pull_id === answer.pull_id && said.receipt_sha256 === hash && answer.receipt_sha256 === hash;
}

export default function add(stack) {
  const base = (site) => `${stack.url}/sandbox/as/${site}/fhir`;
  // A source of this test's own, with a diary of its own.
  async function furnish(site, quirks, ...more) {
    await operator(stack, 'POST', '/personalities', { name: site, quirks });
    const file = path.join(stack.state, `${site}.json`);
    writeFileSync(file, JSON.stringify({ Endpoints: [{ URL: base(site), OrganizationName: site, NPIID: '', OrganizationZipCode: '' }] }));
    await stack.ctl('source', 'import', file, '--env', 'sandbox', '--vendor', site);
    await stack.ctl('client', 'add', '--source', base(site), '--client-id', 'chartway-sandbox', '--auth', 'none', '--slug', site, ...more);
  }
  const pullsOf = async (app) => (await stack.api('GET', `/patients/${app}/pulls`)).json.data;
  const receiptOf = async (app, pull) => {
    const answer = await stack.api('GET', `/patients/${app}/pulls/${pull}/receipt`);
    assert.equal(answer.status, 200, answer.text.slice(0, 300));
    return answer.json;
  };

  test('receipt: what a partial grant lost, signed, and the same at the operator', async () => {
    const app = newId('receipt');
    await furnish(PARTIAL, [], '--scopes', ASKED);
    const journey = await Journey.begin(stack, { patient_id: app, connection_id: base(PARTIAL) });
    const page = await journey.signIn(await journey.choose(), 'Ida Leer');
    const offered = page.form((f) => f.action.endsWith('/oauth/consent')).fields.filter((f) => f.name === 'allow').map((f) => f.value);
    const unticked = offered.filter((scope) => /^patient\/(Goal|AllergyIntolerance)\b/.test(scope));
    assert.equal(unticked.length, 2, `${offered}`);
    await journey.consent(page, { keep: (scope) => !unticked.includes(scope) });
    await pullEnd(stack, app);
    const [pull] = await pullsOf(app);
    const answer = await receiptOf(app, pull.id);
    const { receipt } = answer;
    assert.deepEqual([...receipt.scopes.lost].sort(), [...unticked].sort());
    assert.deepEqual(receipt.scopes.asked, ASKED.split(' '));
    assert.ok(unticked.every((scope) => !receipt.scopes.granted.includes(scope)));
    const goal = receipt.types.find((t) => unticked.some((scope) => scope.startsWith(`patient/${t.type}.`)));
    assert.equal(goal.problems[0].code, 'no_scope', JSON.stringify(goal));
    assert.equal(receipt.pull_id, pull.id);
    assert.ok(await verified(stack, answer));
    assert.ok(!(await verified(stack, { ...answer, receipt: { ...receipt, status: 'complete ' } })), 'another receipt does not pass');
    assert.equal(await stack.ctl('pull', 'receipt', pull.id, '--verify'), JSON.stringify(receipt));
    const [[payloads]] = await stack.sql(`SELECT COUNT(*) FROM event e JOIN patient p ON p.id = e.patient WHERE p.patient_id = '${app}' AND e.kind IN (3, 4)`);
    assert.equal(payloads, '1', 'one terminal event');
  });

  test('receipt: its requests are the hospital\'s diary, its counts the records', async () => {
    await furnish(SITE, ['plain-json-only', 'binary-raw-only', 'api-403']);
    const app = newId('diary');
    const journey = await Journey.begin(stack, { patient_id: app, connection_id: base(SITE) });
    await journey.connect(undefined, QUINN);
    await pullEnd(stack, app);
    const { requests } = await operator(stack, 'GET', `/requests?personality=${SITE}`);
    const asked = requests.filter((r) => !r.target.startsWith('/metadata'));
    const [pull] = await pullsOf(app);
    const { receipt } = await receiptOf(app, pull.id);
    assert.equal(receipt.totals.requests, asked.length, 'every request of the diary, and none beside');
    assert.ok(asked.length > receipt.totals.pages, `${asked.length} requests for ${receipt.totals.pages} pages: forms were refused`);
    assert.equal(pull.requests, asked.length);
    const [[records]] = await stack.sql(`SELECT COUNT(*) FROM record r JOIN patient p ON p.id = r.patient WHERE p.patient_id = '${app}'`);
    assert.equal(receipt.totals.created, Number(records));
    assert.ok(receipt.types.some((t) => t.problems?.some((p) => p.code === 'no_access' && p.http_status === 403)), 'a refusal with its reason');

    // The same anew: nothing is new.
    const again = (await stack.api('POST', `/patients/${app}/pulls`, { connection_id: pull.patient_connection_id })).json.data[0];
    assert.equal(again.trigger, 'manual');
    await pullEnd(stack, app, { count: 2 });
    const second = (await receiptOf(app, again.id)).receipt;
    assert.deepEqual([second.totals.stored, second.totals.created], [0, 0], JSON.stringify(second.totals));
    assert.ok(second.totals.unchanged > 0);

    // Documents that came raw: each a download of the hospital's bytes, however it calls itself.
    const documents = (await stack.api('GET', `/patients/${app}/documents?limit=100`)).json.data;
    assert.ok(documents.length > 0, 'raw documents');
    assert.equal(receipt.documents.count, receipt.documents.items.length);
    for (const document of documents) {
      const url = `/patients/${app}/documents/${document.id}`;
      const checked = await stack.api('GET', url);
      assert.equal(checked.headers.get('content-type'), 'application/octet-stream');
      assert.match(checked.headers.get('content-disposition'), /^attachment; filename="doc_[0-9A-Z]{26}"$/);
      assert.equal(checked.headers.get('x-content-type-options'), 'nosniff');
      const bytes = Buffer.from(await (await fetch(`${stack.url}/api${url}`, { headers: { authorization: `Bearer ${stack.key}` } })).arrayBuffer());
      assert.equal(bytes.length, document.length);
    }
    const fetched = receipt.documents.items.filter((item) => item.status === 'done').reduce((sum, item) => sum + item.bytes, 0);
    assert.ok(fetched >= documents.reduce((sum, document) => sum + document.length, 0), 'the receipt counts their bytes');
  });

  test('progress: percent never falls, and a second pull is refused while one runs', async () => {
    const app = newId('progress');
    const journey = await Journey.begin(stack, { patient_id: app, connection_id: stack.hospital });
    await journey.connect(undefined, 'Walter Brandvold');
    const [{ id }] = await pullsOf(app);
    const refused = await stack.api('POST', `/patients/${app}/pulls`, {});
    const looks = [];
    await until('the end', async () => {
      const { json } = await stack.api('GET', `/patients/${app}/pulls/${id}`);
      looks.push([json.progress.percent, json.status]);
      return !['waiting', 'running'].includes(json.status) && json;
    }, { ms: 180_000, every: 50 });
    if (looks[0][1] !== 'complete') assert.deepEqual([refused.status, refused.json.error.code], [409, 'pull_in_progress']);
    for (let i = 1; i < looks.length; i++) assert.ok(looks[i][0] >= looks[i - 1][0], `${looks}`);
    assert.deepEqual(looks.at(-1), [100, 'complete']);
    assert.ok(looks.every(([percent, status]) => percent === 100 || ['waiting', 'running'].includes(status)) && looks.length > 1, `${looks}`);
    console.log(`  ${looks.length} looks: ${[...new Set(looks.map(([percent]) => percent))].slice(0, 20).join(' ')}`);
  });
}
