// SPDX-License-Identifier: Apache-2.0
// What a callback costs over the portal's own time, one at a time and sixteen at once, beside a request that stops at its state, and beside as many
// bare statements and commits as it makes; and whether 200 that wait on a silent portal delay the others. The clocks are in callback_bench.c.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { promisify } from 'node:util';
import { BUILD, freePort, Stack } from '../system/lib/stack.mjs';
import { Journey } from '../system/lib/patient.mjs';

const COUNT = Number(process.env.CHARTWAY_BENCH_CALLBACKS ?? 1000);
const HANGING = 200;

const portalPort = await freePort();
const stack = await Stack.make({ name: 'callback-bench', env: { CHARTWAY_PAGES_PER_ADDRESS: '100000', CHARTWAY_CALLBACK_PER_ADDRESS: '100000' } });
await stack.up({ allow: [`127.0.0.1:${portalPort}`] });
const bench = spawn(path.join(BUILD, 'callback_bench'), [String(portalPort), String(stack.port)], { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = readline.createInterface({ input: bench.stdout })[Symbol.asyncIterator]();
const say = async (...commands) => {
  bench.stdin.write(`${commands.join('\n')}\n`);
  return (await lines.next()).value;
};

let code = 0;
// Attempts that stand before their callback: what a browser would ask for, with its cookie.
async function prepare(count, base, prefix = '') {
  const out = [];
  const one = async () => {
    const journey = await Journey.begin(stack, { connection_id: base });
    const page = await journey.open();
    const away = await journey.browser.submit(page, page.form((f) => f.action.endsWith('/start')), {}, { stopAt: () => true });
    const asked = new URL(away.location).searchParams;
    const back = new URL(asked.get('redirect_uri'));
    out.push(`R ${back.pathname}?code=${prefix}${code++}&state=${asked.get('state')} ${journey.browser.cookies(stack.url).join('; ')}`);
  };
  while (out.length < count) await Promise.all(Array.from({ length: Math.min(8, count - out.length) }, one));
  return out;
}

const show = (title, answer) => {
  const [p50, p99, max, missed] = answer.split(' ').map(Number);
  console.log(`${title.padEnd(52)} p50 ${(p50 / 1000).toFixed(2).padStart(7)}  p99 ${(p99 / 1000).toFixed(2).padStart(7)}  max ${(max / 1000).toFixed(2).padStart(7)} ms${missed ? `  NOT CONNECTED: ${missed}` : ''}`);
  return { p50, p99 };
};

// CPU milliseconds that a program has had; what other work of the machine does to the clocks above does not show here.
const cpu = (name) => {
  const [user, system] = readFileSync(`/proc/${stack.pid(name)}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13).map(Number);
  return (user + system) * 10;
};

try {
  if ((await lines.next()).value !== 'ready') throw new Error('callback_bench did not start');
  const base = `http://127.0.0.1:${portalPort}/fhir`;
  const file = path.join(stack.state, 'bench-source.json');
  writeFileSync(file, JSON.stringify({ Endpoints: [{ URL: base, OrganizationName: 'Instant portal', NPIID: '', OrganizationZipCode: '' }] }));
  await stack.ctl('source', 'import', file, '--env', 'sandbox');
  await stack.ctl('client', 'add', '--source', base, '--client-id', 'bench', '--auth', 'none', '--slug', 'bench');
  process.kill(stack.pid('scheduler'), 'SIGSTOP'); // its pulls are another bench
  await say(...await prepare(32, base), 'G 16'); // connections, statements and threads are there, and the endpoint is known to work
  const rounds = [await prepare(COUNT, base), await prepare(COUNT, base), await prepare(COUNT / 2, base), await prepare(COUNT / 2, base)];
  const hanging = await prepare(HANGING, base, 'hang');
  console.log('total minus portal, in milliseconds');
  await stack.sql('CREATE DATABASE IF NOT EXISTS yard', 'mysql');
  const yard = await promisify(execFile)(path.join(BUILD, 'yard_sql'), [`${stack.state}/run/mariadb.sock`, 'yard', String(COUNT)]);
  const bareSql = show('its statements and commits alone, 1 at once', yard.stdout.trim());
  for (const [threads, round] of [[1, rounds[0]], [16, rounds[1]]]) {
    const bare = Array.from({ length: COUNT }, () => 'R /callback/bench?state=none x=y');
    await say(...bare, `G ${threads}`).then((a) => show(`a state that is none, ${threads} at once`, a.replace(/ \d+$/, ' 0')));
    const before = [cpu('callback'), cpu('mariadb')];
    const own = show(`callback that connects, ${threads} at once`, await say(...round, `G ${threads}`));
    const [ours, database] = [cpu('callback') - before[0], cpu('mariadb') - before[1]].map((ms) => (ms / round.length).toFixed(2));
    console.log(`  CPU for each: chartway-callback ${ours} ms, mariadbd ${database} ms`);
    if (threads === 1) console.log(`  over its statements and commits alone: p50 ${(own.p50 / bareSql.p50).toFixed(2)}, p99 ${(own.p99 / bareSql.p99).toFixed(2)}`);
  }
  const before = show('alone', await say(...rounds[2], 'G 1'));
  console.log(`held by a silent portal: ${await say(...hanging, 'H')}`);
  const during = show(`beside ${HANGING} that hang`, await say(...rounds[3], 'G 1'));
  console.log(`delay by ${HANGING} that hang: p50 ${((during.p50 - before.p50) / 1000).toFixed(2)} ms, p99 ${((during.p99 - before.p99) / 1000).toFixed(2)} ms`);
} finally {
  bench.kill();
  await once(bench, 'exit');
  process.kill(stack.pid('scheduler'), 'SIGCONT');
  await stack.down();
}
