// SPDX-License-Identifier: Apache-2.0
// After all of it: no token, secret, clinical text or name in a dump of the database, its binary log, or any log of ours.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { allRecords, Journey, pullEnd } from './lib/patient.mjs';

export default function add(stack) {
  test('canaries: nothing private lies in the clear', async () => {
    const name = 'Canaria Vogelsang';
    const email = 'canaria.vogelsang@birds.example';
    const journey = await Journey.begin(stack, { connection_id: stack.hospital, patient_name: name, patient_email: email, metadata: { canary: 'METADATA-CANARY' } });
    await journey.connect(undefined, 'Amara Okonjo');
    await pullEnd(stack, journey.session.patient_id);
    const records = await allRecords(stack, journey.session.patient_id);
    const clinical = new Set();
    for (const raw of records) {
      const resource = JSON.parse(raw);
      for (const text of [resource.code?.text, resource.code?.coding?.[0]?.display, resource.text?.div, resource.note?.[0]?.text]) {
        if (typeof text === 'string' && text.length >= 12) clinical.add(text.slice(0, 60));
      }
    }
    assert.ok(clinical.size >= 20, `${clinical.size} clinical texts to look for`);
    // The receipt says nothing of it either, is signed, and neither it nor its signature or hash lies in the clear.
    const [pull] = (await stack.api('GET', `/patients/${journey.session.patient_id}/pulls`)).json.data;
    const proof = await stack.api('GET', `/patients/${journey.session.patient_id}/pulls/${pull.id}/receipt`);
    assert.equal(proof.status, 200, proof.text);
    for (const needle of [name, 'Okonjo', ...clinical]) assert.ok(!proof.text.includes(needle), `"${needle.slice(0, 24)}…" stands in the receipt`);
    for (const url of ['pulls/' + pull.id, 'documents']) assert.equal((await stack.api('GET', `/patients/${journey.session.patient_id}/${url}`)).status, 200);
    const secret = new URL(journey.session.url).pathname.split('/').pop();
    const needles = [name, 'Vogelsang', email, 'METADATA-CANARY', 'Okonjo', 'Brandvold', secret, stack.key, stack.key.split('.').pop(), 'plain-secret-0123456789', 'CANARY-portal-words', proof.json.receipt_sha256, proof.json.signature, ...clinical];
    const dump = execFileSync('mariadb-dump', ['--no-defaults', `--socket=${stack.state}/run/mariadb.sock`, '--skip-extended-insert', 'chartway'], { maxBuffer: 1 << 30 });
    const haystacks = [['dump', dump.toString('latin1')]];
    for (const file of readdirSync(path.join(stack.state, 'db'))) {
      if (/^binlog\.\d+$/.test(file)) haystacks.push([file, readFileSync(path.join(stack.state, 'db', file)).toString('latin1')]);
    }
    haystacks.push(...stack.logs());
    for (const [where, text] of haystacks) {
      for (const needle of needles) {
        const bytes = Buffer.from(needle, 'utf8').toString('latin1');
        assert.ok(!text.includes(bytes), `"${needle.slice(0, 24)}…" stands in ${where}`);
      }
      // JWTs and bearer tokens by form.
      if (where !== 'dump' && !where.startsWith('binlog')) assert.ok(!/eyJ[A-Za-z0-9_-]{20,}/.test(text), `a token by its form in ${where}`);
    }
    // The needles are not blind: they are found where they are known to be.
    assert.ok(records.some((raw) => [...clinical].some((text) => raw.includes(JSON.stringify(text).slice(1, -1)))));
    assert.ok(haystacks.find(([w]) => w === 'dump')[1].includes(journey.session.patient_id), 'the dump is one of this database');
    const access = haystacks.find(([w]) => w === 'access.log')[1];
    assert.ok(access.includes('/c/') && !access.includes('patient_id=') && !access.includes(journey.session.patient_id), 'paths are masked');
  });
}
