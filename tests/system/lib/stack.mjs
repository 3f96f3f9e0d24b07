// SPDX-License-Identifier: Apache-2.0
// A Chartway of the tests' own: ./dev up in a folder of its own, on a free port, ended by ./dev down.

import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { Contract } from '../contract.mjs';

const exec = promisify(execFile);
export const contract = new Contract();
export const ROOT = process.env.ROOT ?? path.resolve(process.cwd());
export const BUILD = process.env.CHARTWAY_BUILD ?? path.join(ROOT, 'build/asan');
export const TEST_DIR = process.env.CHARTWAY_TEST_DIR ?? path.join(ROOT, 'var/check');

export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Asks until `fn` gives something true; its last error is in the message.
export async function until(what, fn, { ms = 60_000, every = 100 } = {}) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const value = await fn();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`gave up waiting for ${what}${last ? `: ${last.message}` : ''}`);
    await sleep(every);
  }
}

function shellEnv(text) {
  const out = {};
  for (const [, name, value] of text.matchAll(/^([A-Z_]+)='([^']*)'$/gm)) out[name] = value;
  return out;
}

export class Stack {
  constructor({ name = 'stack', port, env = {} }) {
    this.state = path.join(TEST_DIR, name);
    this.port = port;
    this.env = { ...process.env, CHARTWAY_STATE: this.state, CHARTWAY_PORT: String(port), CHARTWAY_BUILD: BUILD, ...env };
  }

  static async make(options = {}) {
    return new Stack({ ...options, port: options.port ?? (await freePort()) });
  }

  // The output goes to a file, as the processes that stay would keep a pipe open.
  #dev(args) {
    mkdirSync(this.state, { recursive: true });
    return new Promise((resolve, reject) => {
      const child = spawn(path.join(ROOT, 'dev'), args, { env: this.env, stdio: ['ignore', 'inherit', 'inherit'] });
      child.once('error', reject);
      child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`./dev ${args.join(' ')} ended with ${code}`))));
    });
  }

  async up({ allow = [], tour = false } = {}) {
    // From nothing, also where an earlier run was cut off.
    if (existsSync(this.state)) await this.down();
    rmSync(this.state, { recursive: true, force: true });
    const args = ['up', ...allow.flatMap((host) => ['--allow', host])];
    if (!tour) args.push('--no-tour');
    await this.#dev(args);
    this.vars = shellEnv(readFileSync(path.join(this.state, 'env'), 'utf8'));
    this.url = this.vars.CHARTWAY_URL;
    this.key = this.vars.CHARTWAY_API_KEY;
    return this;
  }

  down() {
    return this.#dev(['down']);
  }

  async ctl(...args) {
    const { stdout } = await exec(this.vars.CHARTWAY_CTL, args, { maxBuffer: 64 << 20 });
    return stdout;
  }

  async ctlJson(...args) {
    return JSON.parse(await this.ctl(...args, '--json'));
  }

  // As the database's administrator; rows of text cells.
  async sql(text, database = 'chartway') {
    const { stdout } = await exec(
      'mariadb',
      ['--no-defaults', '--batch', '--raw', '--skip-column-names', `--socket=${this.state}/run/mariadb.sock`, database, '-e', text],
      { maxBuffer: 256 << 20 },
    );
    return stdout.split('\n').slice(0, -1).map((line) => line.split('\t'));
  }

  pid(name) {
    return Number(readFileSync(path.join(this.state, 'run', `${name}.pid`), 'utf8'));
  }

  logs() {
    const folder = path.join(this.state, 'log');
    return readdirSync(folder).map((file) => [file, readFileSync(path.join(folder, file), 'latin1')]);
  }

  // One call of the API; its answer is held against the OpenAPI document. `body` is sent as JSON, or as it is when it is a string or bytes.
  async api(method, route, body, { key = this.key, headers = {} } = {}) {
    const raw = typeof body === 'string' || body instanceof Uint8Array;
    const answer = await fetch(`${this.url}/api${route}`, {
      method,
      headers: {
        ...(key ? { authorization: `Bearer ${key}` } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : raw ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    let json;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    contract.check({ method, path: route.split('?')[0], status: answer.status, headers: answer.headers, body: text });
    return { status: answer.status, headers: answer.headers, text, json };
  }
}
