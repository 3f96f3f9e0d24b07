// SPDX-License-Identifier: Apache-2.0
// The system tests: one stack of real nginx, MariaDB, responders and scheduler, driven from outside.

import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { after, run } from './lib/runner.mjs';
import { freePort, ROOT, Stack, TEST_DIR } from './lib/stack.mjs';
import { SCRIPTS } from './scripted.mjs';
import { ScriptedHospitals } from './lib/scripted.mjs';
import { editCharts, transactionBundle, ndjson, quirkCharts } from './lib/input.mjs';
import { furnish } from './recordings.mjs';

// Real input for the sandbox hospital: our own, and Synthea's where the shared folder is there.
const data = path.join(TEST_DIR, 'sandbox-data');
mkdirSync(data, { recursive: true });
writeFileSync(path.join(data, 'own-transaction.json'), transactionBundle());
writeFileSync(path.join(data, 'own-bulk.ndjson'), ndjson());
writeFileSync(path.join(data, 'own-quirks.ndjson'), quirkCharts());
writeFileSync(path.join(data, 'own-edits.ndjson'), editCharts());
const synthea = path.resolve(process.env.ROOT ?? '.', '../shared/data/synthea/synthea-60-patients.tar.zst');
if (existsSync(synthea)) execFileSync('tar', ['--zstd', '-xf', synthea, '-C', data, '--strip-components=2', '--wildcards', 'R4/SYNTHEA/0*.json']);

// The shipped vendor profiles, one for a server that takes assertions by ES384 alone, and two that know what _lastUpdated is worth.
const vendors = path.join(TEST_DIR, 'vendors');
cpSync(path.join(ROOT, 'conf/vendors'), vendors, { recursive: true });
writeFileSync(path.join(vendors, 'es384.json'), '{"auth_method":"private_key_jwt","jwt_alg":"ES384"}\n');
writeFileSync(path.join(vendors, 'filter-always.json'), '{"last_updated":"yes"}\n');
writeFileSync(path.join(vendors, 'filter-never.json'), '{"last_updated":"no"}\n');

const recordings = furnish(path.join(TEST_DIR, 'recordings'));

const fhirPort = await freePort();
const portalPort = await freePort();
const evilPort = await freePort();
const murderPort = await freePort();
const scripted = new ScriptedHospitals(await freePort(), SCRIPTS);
const stack = await Stack.make({ name: 'stack', env: { CHARTWAY_SANDBOX_DATA: data, CHARTWAY_SANDBOX_RECORDINGS: recordings, CHARTWAY_VENDORS: vendors } });
after(() => stack.down());
await stack.up({ allow: [`127.0.0.1:${fhirPort}`, `127.0.0.1:${portalPort}`, `127.0.0.1:${evilPort}`, `127.0.0.2:${evilPort}`, `127.0.0.1:${murderPort}`, ...scripted.scripts.map((_, seed) => `${scripted.address(seed)}:${scripted.port}`)] });
stack.org = readFileSync(path.join(stack.state, 'etc/organization'), 'utf8').trim();
stack.hospital = (await stack.api('GET', '/connections?q=Sandbox%20Hospital&limit=1')).json.data[0].id;

for (const suite of ['main', 'bad', 'callback', 'attack', 'oidc', 'murder', 'pull', 'receipt', 'scripted', 'quirks_fhir', 'recordings', 'incremental', 'again', 'diagnose', 'vault', 'quirks_auth', 'canary']) {
  const { default: add } = await import(`./${suite}.mjs`);
  add(stack, { fhirPort, portalPort, evilPort, murderPort, recordings, scripted });
}
process.exitCode = (await run()) ? 0 : 1;
