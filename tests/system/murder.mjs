// SPDX-License-Identifier: Apache-2.0
// Rotation under murder: sixteen refreshers in four processes, killed at random statements and requests and started again at
// once, against a token server that rotates and detects reuse. A refresh token may come twice only when the answer to its
// first use was lost; anything else ends the grant at the server, as RFC 9700 has it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { BUILD, sleep, until } from './lib/stack.mjs';

const LONG = process.env.CHARTWAY_LONG === '1';
const ROUNDS = LONG ? 2000 : 50;
const PROCESSES = 4;
const THREADS = 4;
const GRANTS = 64;
const DROP = 0.01; // of the answers never arrive
const DELAY_MS = 25;

class TokenServer {
  constructor(port) {
    this.port = port;
    this.families = Array.from({ length: GRANTS }, (_, i) => ({ current: `r-${i}-0`, before: undefined, n: 0, revoked: false, uses: new Map() }));
    this.dead = new Set(); // processes
    Object.assign(this, { refreshes: 0, repeats: 0, dropped: 0, reuses: [], peaceful: false });
  }

  start() {
    this.http = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => this.#answer(request, response, new URLSearchParams(body).get('refresh_token')));
    });
    return new Promise((resolve) => this.http.listen(this.port, '127.0.0.1', resolve));
  }

  stop() {
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(resolve));
  }

  #refuse(response) {
    response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}');
  }

  #reuse(family, response, why) {
    family.revoked = true;
    this.reuses.push(why);
    this.#refuse(response);
  }

  // Whether the answer to the last use of a token never came to anybody who lives.
  #lost(use) {
    return use.dropped || this.dead.has(use.pid);
  }

  #answer(request, response, token) {
    const family = this.families[Number(/^r-(\d+)-/.exec(token ?? '')?.[1])];
    // 0: the stack's own scheduler, whose keep-alive finds what the dead have left. It is not killed.
    const pid = Number(/^murder\/(\d+)$/.exec(request.headers['user-agent'] ?? '')?.[1] ?? 0);
    if (!family || family.revoked) return this.#refuse(response);
    const uses = family.uses.get(token) ?? [];
    if (token === family.current) {
      family.before = token;
    } else if (token !== family.before) {
      return this.#reuse(family, response, `${token} is older than its successor's use`);
    } else if (!this.#lost(uses.at(-1))) {
      return this.#reuse(family, response, `${token} came twice, and its answer was not lost`);
    } else {
      this.repeats++;
    }
    family.current = `r-${token.split('-')[1]}-${++family.n}`;
    const use = { pid, dropped: !this.peaceful && Math.random() < DROP };
    family.uses = new Map([[token, [...uses, use]]]);
    this.refreshes++;
    setTimeout(() => {
      if (use.dropped) {
        this.dropped++;
        request.socket.destroy();
        return;
      }
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ access_token: `a-${family.n}`, refresh_token: family.current, token_type: 'Bearer', expires_in: 3600 }));
    }, Math.random() * DELAY_MS);
    return undefined;
  }
}

export default function add(stack, { murderPort }) {
  const program = path.join(BUILD, 'tests/system/murder_worker');
  const env = () => ({ ...process.env, CHARTWAY_CONF: stack.vars.CHARTWAY_CONF });

  const once = (...args) =>
    new Promise((resolve, reject) => {
      const child = spawn(program, args, { env: env(), stdio: ['ignore', 'pipe', 'inherit'] });
      let out = '';
      child.stdout.on('data', (chunk) => (out += chunk));
      child.once('error', reject);
      child.once('close', (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(`${args[0]} ended with ${code}`))));
    });

  test(`rotation under murder: ${ROUNDS} kills of ${PROCESSES * THREADS} refreshers lose no grant`, async () => {
    const server = new TokenServer(murderPort);
    await server.start();
    const began = Date.now();
    const sites = {};
    let kills = 0;
    let stopping = false;
    const running = new Map();
    const faults = [];
    const registration = await once('make', String(GRANTS), `http://127.0.0.1:${murderPort}/token`);

    const start = (slot) => {
      const child = spawn(program, ['work', String(slot), String(THREADS), registration], { env: env(), stdio: ['ignore', 'pipe', 'inherit'] });
      running.set(slot, child);
      child.stdout.on('data', (chunk) => {
        for (const [, site] of String(chunk).matchAll(/^killed (.*)$/gm)) sites[site] = (sites[site] ?? 0) + 1;
        if (/^ended$/m.test(String(chunk))) faults.push('a grant ended');
      });
      child.once('exit', (code, signal) => {
        server.dead.add(child.pid);
        running.delete(slot);
        if (signal === 'SIGKILL') kills++;
        else faults.push(`a worker ended with ${code ?? signal}`);
        if (!stopping && kills < ROUNDS && !faults.length) start(slot);
      });
    };
    try {
      for (let slot = 0; slot < PROCESSES; slot++) start(slot);
      await until(`${ROUNDS} kills`, () => kills >= ROUNDS || faults.length, { ms: LONG ? 3_600_000 : 120_000 });
    } finally {
      stopping = true;
      for (const child of running.values()) child.kill('SIGKILL');
      await until('the last of them', () => running.size === 0, { ms: 10_000 });
    }
    assert.deepEqual(faults, []);
    server.peaceful = true;
    await sleep(100);
    const [, grants, lost] = /^grants (\d+) lost (\d+)$/m.exec(await once('finish', String(PROCESSES), registration));
    const states = await stack.sql(`SELECT COUNT(*) FROM connection c JOIN client_registration r ON r.id = c.registration WHERE r.client_id = 'murder' AND c.status <> 1`);
    await server.stop();
    console.log(`  rounds ${ROUNDS}, kills ${kills} (${Object.entries(sites).map(([site, n]) => `${n} ${site}`).join(', ')}), refreshes ${server.refreshes}, ` +
      `answers dropped ${server.dropped}, allowed retries ${server.repeats}, reuses ${server.reuses.length}, lost grants ${lost} of ${grants}, ${((Date.now() - began) / 1000).toFixed(1)} s`);
    assert.deepEqual(server.reuses, []);
    assert.equal(Number(lost), 0);
    assert.equal(Number(states[0][0]), 0);
    assert.equal(Number(grants), GRANTS);
    assert.ok(server.refreshes > ROUNDS, 'they did refresh');
    assert.ok(server.repeats > 0 && server.repeats <= kills * THREADS + server.dropped, 'retries come from lost answers');
  }, { limitMs: LONG ? 3_600_000 : 150_000 });
}
