// SPDX-License-Identifier: Apache-2.0
// A test runner of one page: tests run one after the other, since they share one stack; one that throws has failed.
// The last line is `N passed, N failed`.

const tests = [];
const hooks = [];

// limitMs: for one that takes longer than the others may.
export function test(name, fn, { limitMs } = {}) {
  tests.push({ name, fn, limitMs });
}

// Runs at the end, whatever happened.
export function after(fn) {
  hooks.push(fn);
}

function limited(promise, ms, name) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${ms / 1000} s: ${name}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function run({ only = process.env.CHARTWAY_TEST_ONLY, limitMs = 240_000 } = {}) {
  let passed = 0;
  let failed = 0;
  const bad = [];
  for (const { name, fn, limitMs: own } of tests) {
    if (only && !name.includes(only)) continue;
    const began = Date.now();
    try {
      await limited(Promise.resolve().then(fn), own ?? limitMs, name);
      passed++;
      console.log(`ok - ${name} (${Date.now() - began} ms)`);
    } catch (error) {
      failed++;
      bad.push(name);
      console.log(`not ok - ${name} (${Date.now() - began} ms)\n${error?.stack ?? error}`);
    }
  }
  for (const hook of hooks.reverse()) {
    try {
      await hook();
    } catch (error) {
      failed++;
      bad.push('clean-up');
      console.log(`not ok - clean-up\n${error?.stack ?? error}`);
    }
  }
  if (bad.length) console.log(`failed: ${bad.join('; ')}`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0;
}
