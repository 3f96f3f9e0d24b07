// SPDX-License-Identifier: Apache-2.0
// What a pull costs: many records from one fast host beside the bare yardstick (yard_pull.c) in the same run, in turns; the same records again,
// unchanged; and many slow hosts at once, beside the rate that they allow. The hosts are fast_host.c.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { BUILD, freePort, Stack, until } from '../system/lib/stack.mjs';
import { Journey } from '../system/lib/patient.mjs';

const exec = promisify(execFile);
const ROUNDS = Number(process.env.CHARTWAY_BENCH_ROUNDS ?? 3);
const PATIENTS = 8;
const PAGES = Number(process.env.CHARTWAY_BENCH_PAGES ?? 20);
const ENTRIES = 500;
const SLOW_HOSTS = Number(process.env.CHARTWAY_BENCH_SLOW_HOSTS ?? 500);
const SLOW_MS = 2000;
const SLOW_PAGES = 15;
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

const children = [];
async function host(port, hosts, patients, pages, entries, delay) {
  const child = spawn(path.join(BUILD, 'fast_host'), [port, hosts, patients, pages, entries, delay].map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout, 'data');
}

const addresses = Array.from({ length: SLOW_HOSTS }, (_, i) => `127.0.${1 + Math.floor(i / 250)}.${1 + (i % 250)}`);
const fastPort = await freePort();
const slowPort = await freePort();
const stack = await Stack.make({ name: 'pull-bench', env: { CHARTWAY_PAGES_PER_ADDRESS: '100000', CHARTWAY_CALLBACK_PER_ADDRESS: '100000' } });
await stack.up({ allow: [`127.0.0.1:${fastPort}`, ...addresses.map((a) => `${a}:${slowPort}`)] });

const signal = (name) => process.kill(stack.pid('scheduler'), name);
const number = async (sql) => Number((await stack.sql(sql))[0][0]);
const peak = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${stack.pid('scheduler')}/status`, 'utf8'))[1]);

async function register(bases) {
  const file = path.join(stack.state, 'bench-sources.json');
  writeFileSync(file, JSON.stringify({ Endpoints: bases.map((URL) => ({ URL, OrganizationName: `Bench ${URL}`, NPIID: '', OrganizationZipCode: '' })) }));
  await stack.ctl('source', 'import', file, '--env', 'sandbox');
  for (const base of bases) await stack.ctl('client', 'add', '--source', base, '--client-id', 'bench', '--auth', 'none');
}

async function connect(base) {
  const journey = await Journey.begin(stack, { connection_id: base });
  const page = await journey.open();
  await journey.browser.submit(page, page.form((f) => f.action.endsWith('/start')), {}, { stopAt: (target) => target.host === 'app.example' });
  return journey.session.patient_id;
}

// Pulls that wait, from the moment in which the scheduler may run until the last has ended.
async function ended(since) {
  return until('the pulls', async () => (await number(`SELECT COUNT(*) FROM pull WHERE id > UNHEX('${since}') AND trigger_kind <> 3 AND status <= 2`)) === 0, { ms: 600_000, every: 100 });
}
const newest = async () => (await stack.sql("SELECT COALESCE(HEX(MAX(id)), '00') FROM pull WHERE trigger_kind <> 3"))[0][0];
const sum = (since, what) => number(`SELECT ${what} FROM pull WHERE id > UNHEX('${since}') AND trigger_kind <> 3`);
const SECONDS = 'TIMESTAMPDIFF(MICROSECOND, MIN(started_at), MAX(ended_at)) / 1000000';

async function fast(base) {
  signal('SIGSTOP');
  const since = await newest();
  const people = await Promise.all(Array.from({ length: PATIENTS }, () => connect(base)));
  signal('SIGCONT');
  await ended(since);
  return { rate: (await sum(since, 'SUM(stored)')) / (await sum(since, SECONDS)), people };
}

// As many processes as there are cores, each with its part of the searches.
async function yard(base) {
  await stack.sql('TRUNCATE many', 'yard');
  const token = path.join(stack.state, 'bench.token');
  writeFileSync(token, 'no token', { mode: 0o600 });
  const began = performance.now();
  const parts = await Promise.all([0, 1].map(async (part) => {
    const urls = path.join(stack.state, `bench.urls.${part}`);
    writeFileSync(urls, Array.from({ length: PATIENTS / 2 }, (_, i) => `${base}/Observation?patient=p${part * (PATIENTS / 2) + i}`).join('\n'));
    return Number((await exec(path.join(BUILD, 'yard_pull'), [`${stack.state}/run/mariadb.sock`, token, urls])).stdout.split(' ')[0]);
  }));
  return (parts[0] + parts[1]) / ((performance.now() - began) / 1000);
}

try {
  await stack.sql('CREATE DATABASE IF NOT EXISTS yard', 'mysql');
  await stack.sql('CREATE TABLE IF NOT EXISTS many (id BINARY(16) PRIMARY KEY, body LONGBLOB)', 'yard');
  await host(fastPort, 1, PATIENTS, PAGES, ENTRIES, 0);
  const base = `http://127.0.0.1:${fastPort}/fhir`;
  await register([base]);
  const rates = { ours: [], yard: [] };
  let people;
  for (let round = 0; round < ROUNDS; round++) {
    rates.yard.push(await yard(base));
    const { rate, people: connected } = await fast(base);
    rates.ours.push(rate);
    people = connected;
  }
  const [ours, bare] = [median(rates.ours), median(rates.yard)];
  console.log(`one fast host, ${PATIENTS} patients of ${PAGES * ENTRIES}: ${ours.toFixed(0)} records/s, yardstick ${bare.toFixed(0)}, ratio ${(ours / bare).toFixed(2)}; peak memory of the scheduler ${peak()} KiB`);
  const since = await newest();
  const org = readFileSync(path.join(stack.state, 'etc/organization'), 'utf8').trim();
  await Promise.all(people.map((person) => stack.ctl('pull', 'start', '--patient', person, '--org', org)));
  await ended(since);
  console.log(`the same again: ${((await sum(since, 'SUM(unchanged)')) / (await sum(since, SECONDS))).toFixed(0)} records/s looked at, ${await sum(since, 'SUM(stored)')} stored`);

  await host(slowPort, SLOW_HOSTS, 1, SLOW_PAGES, 20, SLOW_MS);
  const bases = addresses.map((a) => `http://${a}:${slowPort}/fhir`);
  await register(bases);
  signal('SIGSTOP');
  const slow = await newest();
  for (let i = 0; i < bases.length; i += 8) await Promise.all(bases.slice(i, i + 8).map(connect));
  let most = 0;
  signal('SIGCONT');
  const watch = setInterval(async () => {
    most = Math.max(most, await number("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'chartway' AND host = 'localhost'").catch(() => 0));
  }, 500);
  await ended(slow);
  clearInterval(watch);
  const pages = SLOW_HOSTS * SLOW_PAGES;
  const seconds = await sum(slow, SECONDS);
  const allowed = SLOW_HOSTS / (SLOW_MS / 1000);
  console.log(`${SLOW_HOSTS} hosts of ${SLOW_MS / 1000} s a page: ${(pages / seconds).toFixed(1)} pages/s, the hosts allow ${allowed.toFixed(1)}, ratio ${(pages / seconds / allowed).toFixed(2)}; database connections of all programs at the most ${most}; peak memory ${peak()} KiB`);
} finally {
  for (const child of children) child.kill();
  await stack.down();
}
