// SPDX-License-Identifier: Apache-2.0
// The search, and the peak memory of each program after it.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { BUILD, Stack } from '../system/lib/stack.mjs';

const exec = promisify(execFile);

const stack = await Stack.make({ name: 'stack' });
await stack.up();

// Peak resident and proportional memory of a program and its threads, in KiB.
function memory(name) {
  const pid = stack.pid(name);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)[1]);
}

try {
  const search = await exec(path.join(BUILD, 'search_bench')).catch((error) => ({ stdout: `search_bench: ${error.message}` }));
  console.log(search.stdout.trim());
  console.log(`peak memory, KiB: ${['api', 'picker', 'callback', 'sandbox', 'scheduler'].map((name) => `${name} ${memory(name)}`).join(', ')}`);
} finally {
  await stack.down();
}
