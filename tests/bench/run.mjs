// SPDX-License-Identifier: Apache-2.0
// The rate of a pull beside a bare yardstick in the same run, in turns; medians printed. Then the search, and peak memory.

import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { BUILD, Stack } from '../system/lib/stack.mjs';
import { Browser } from '../system/lib/browser.mjs';
import { Journey, operator, pullEnd } from '../system/lib/patient.mjs';

const exec = promisify(execFile);
const ROUNDS = Number(process.env.CHARTWAY_BENCH_ROUNDS ?? 3);
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

const stack = await Stack.make({ name: 'stack' });
await stack.up();
stack.org = readFileSync(path.join(stack.state, 'etc/organization'), 'utf8').trim();
stack.hospital = (await stack.api('GET', '/connections?q=Sandbox%20Hospital&limit=1')).json.data[0].id;
const dbSocket = `${stack.state}/run/mariadb.sock`;

// Peak resident and proportional memory of a program and its threads, in KiB.
function memory(name) {
  const pid = stack.pid(name);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)[1]);
}

async function race(title, ours, yard) {
  const rates = { ours: [], yard: [] };
  for (let round = 0; round < ROUNDS; round++) {
    rates.yard.push((await yard()).rate);
    rates.ours.push((await ours()).rate);
  }
  const [a, b] = [median(rates.ours), median(rates.yard)];
  console.log(`${title.padEnd(38)} ${a.toFixed(0).padStart(7)}/s   yardstick ${b.toFixed(0).padStart(7)}/s   ratio ${(a / b).toFixed(2)}`);
}

// A token of the sandbox hospital, as any app would get it.
async function sandboxToken(name) {
  const base = `${stack.vars.CHARTWAY_SANDBOX_URL}/fhir`;
  const verifier = randomBytes(32).toString('base64url');
  const redirect = `${stack.url}/callback/bench`;
  const query = new URLSearchParams({ response_type: 'code', client_id: 'chartway-sandbox', redirect_uri: redirect, scope: 'launch/patient patient/*.rs', state: 'bench-state', aud: base,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256' });
  const browser = new Browser();
  const login = await browser.open(`${stack.vars.CHARTWAY_SANDBOX_URL}/oauth/authorize?${query}`);
  const consent = await browser.submit(login, login.form((f) => f.action.endsWith('/oauth/login')), { name });
  const form = consent.form((f) => f.action.endsWith('/oauth/consent'));
  const back = await browser.submit(consent, form, {}, { button: 'allow', stopAt: (target) => target.pathname === '/callback/bench' });
  const answer = await fetch(`${stack.vars.CHARTWAY_SANDBOX_URL}/oauth/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'authorization_code',
    code: new URL(back.location).searchParams.get('code'), redirect_uri: redirect, code_verifier: verifier, client_id: 'chartway-sandbox' }) });
  return (await answer.json()).access_token;
}

async function pulls() {
  const person = (await operator(stack, 'GET', '/census')).patients.find((p) => p.name.includes('Brandvold'));
  const tokenFile = path.join(stack.state, 'bench.token');
  const urlFile = path.join(stack.state, 'bench.urls');
  writeFileSync(tokenFile, await sandboxToken(person.name), { mode: 0o600 });
  writeFileSync(urlFile, person.types.filter(({ type }) => !['Binary', 'Medication', 'Practitioner', 'PractitionerRole', 'Organization', 'Location', 'Provenance', 'Specimen'].includes(type))
    .map(({ type }) => `${stack.vars.CHARTWAY_SANDBOX_URL}/fhir/${type}?${type === 'Patient' ? '_id' : 'patient'}=${person.id}&_count=50`).join('\n'));
  const yard = async () => {
    const { stdout } = await exec(path.join(BUILD, 'yard_pull'), [dbSocket, tokenFile, urlFile]);
    const [records, , seconds] = stdout.trim().split(' ').map(Number);
    return { rate: records / seconds };
  };
  const ours = async () => {
    const journey = await Journey.begin(stack, { connection_id: stack.hospital });
    await journey.connect(undefined, person.name);
    const pull = await pullEnd(stack, journey.session.patient_id);
    return { rate: pull.stored / ((new Date(pull.ended_at) - new Date(pull.started_at)) / 1000) };
  };
  await race('records stored by a pull', ours, yard);
}

try {
  await stack.sql('CREATE DATABASE IF NOT EXISTS yard', 'mysql');
  await stack.sql('CREATE TABLE IF NOT EXISTS many (id BINARY(16) PRIMARY KEY, body LONGBLOB); TRUNCATE many', 'yard');
  await pulls();
  const search = await exec(path.join(BUILD, 'search_bench')).catch((error) => ({ stdout: `search_bench: ${error.message}` }));
  console.log(search.stdout.trim());
  console.log(`peak memory, KiB: ${['api', 'picker', 'callback', 'sandbox', 'scheduler'].map((name) => `${name} ${memory(name)}`).join(', ')}`);
} finally {
  await stack.down();
}
