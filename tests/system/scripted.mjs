// SPDX-License-Identifier: Apache-2.0
// Hospitals that follow scripts (lib/scripted.mjs): for each seed the receipt says exactly what the hospital knows, and what is stored is what could be
// had, byte for byte, nothing twice. 20 seeds here, 200 in the long run.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { allRecords, Journey, pullEnd } from './lib/patient.mjs';
import { ScriptedHospitals } from './lib/scripted.mjs';

export const SCRIPTS = Number(process.env.CHARTWAY_SCRIPTS ?? (process.env.CHARTWAY_LONG ? 200 : 20));
const AT_ONCE = 20;

export default function add(stack, { scripted }) {
  // Connects, waits for the pull, and lists what is not as the hospital says.
  async function play(seed) {
    const script = scripted.scripts[seed];
    const journey = await Journey.begin(stack, { connection_id: scripted.base(seed) });
    const page = await journey.open();
    await journey.browser.submit(page, page.form((f) => f.action.endsWith('/start')), {}, { stopAt: (target) => target.host === 'app.example' });
    const pull = await pullEnd(stack, journey.session.patient_id, { ms: 240_000 });
    const receipt = JSON.parse(await stack.ctl('pull', 'receipt', pull.id));
    const truth = script.truth();
    const faults = [];
    const same = (what, got, wanted) => {
      if (JSON.stringify(got) !== JSON.stringify(wanted)) faults.push(`seed ${seed}: ${what}: ${JSON.stringify(got)}, the hospital says ${JSON.stringify(wanted)}`);
    };
    same('status', receipt.status, truth.status);
    const byType = (list) => [...list].sort((a, b) => (a.type < b.type ? -1 : 1));
    same('left_out', byType(receipt.left_out ?? []), byType(truth.left_out));
    for (const [name, wanted] of Object.entries(truth.types)) {
      const got = receipt.types.find((t) => t.type === name) ?? {};
      const what = `${name} (${wanted.plot})`;
      for (const key of ['requests', 'pages', 'received', 'stored']) same(`${what} ${key}`, got[key], wanted[key]);
      const problem = (got.problems ?? [])[0];
      same(`${what} problem`, problem && { ...problem, http_status: wanted.problem?.http_status && problem.http_status }, wanted.problem && { status: wanted.problem.status, code: wanted.problem.code, http_status: wanted.problem.http_status, count: 1 });
    }
    const records = (await allRecords(stack, journey.session.patient_id)).filter((text) => !text.includes('"resourceType":"Patient"'));
    same('records', records.length, truth.stored.size);
    const bytes = new Set(records);
    for (const [id, text] of truth.stored) if (!bytes.has(text)) faults.push(`seed ${seed}: ${id} is not stored as it was sent`);
    return faults;
  }

  test(`scripted hospitals: ${SCRIPTS} seeds, each receipt is the truth`, async () => {
    await scripted.start();
    try {
      const bases = scripted.scripts.map((_, seed) => scripted.base(seed));
      const file = path.join(stack.state, 'scripted-sources.json');
      writeFileSync(file, JSON.stringify({ Endpoints: bases.map((URL, seed) => ({ URL, OrganizationName: `Scripted ${seed}`, NPIID: '', OrganizationZipCode: '' })) }));
      await stack.ctl('source', 'import', file, '--env', 'sandbox');
      for (const base of bases) await stack.ctl('client', 'add', '--source', base, '--client-id', 'scripted', '--auth', 'none');
      const faults = [];
      for (let from = 0; from < SCRIPTS; from += AT_ONCE) {
        const seeds = Array.from({ length: Math.min(AT_ONCE, SCRIPTS - from) }, (_, i) => from + i);
        faults.push(...(await Promise.all(seeds.map(play))).flat());
      }
      assert.deepEqual(faults, []);
    } finally {
      scripted.stop();
    }
  });
}
