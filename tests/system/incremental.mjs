// SPDX-License-Identifier: Apache-2.0
// Pull after pull of a chart that changes in between: after a full one the store is the chart, and after an incremental one where the server's _lastUpdated is
// real; where it is ignored or refused, the type is asked for whole. What a source has no longer is marked once it was asked for by its id.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { editObservation } from './lib/input.mjs';
import { allRecords, Journey, operator, pullEnd } from './lib/patient.mjs';
import { until } from './lib/stack.mjs';

const VENDOR = 'incremental-played-by-sandbox';
const CASES = {
  real: { quirks: [], who: { id: 'edit-1', name: 'Edith One' } },
  ignored: { quirks: ['last-updated-ignored'], who: { id: 'edit-2', name: 'Edith Two' } },
  refused: { quirks: ['no-last-updated'], who: { id: 'edit-3', name: 'Edith Three' } },
  // The profile's word stands over what a test would find.
  always: { quirks: [], profile: 'filter-always', who: { id: 'edit-4', name: 'Edith Four' } },
  never: { quirks: [], profile: 'filter-never', who: { id: 'edit-5', name: 'Edith Five' } },
};
const isReal = (name) => name === 'real' || name === 'always';

// The same edits at every run: what fails can be run again.
let seed = 20261201;
const random = (below) => {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return (seed >>> 8) % below;
};

const keyOf = (raw) => {
  const { resourceType, id } = JSON.parse(raw);
  return `${resourceType}/${id}`;
};

export default function add(stack) {
  const site = (name) => `incr-${name}`;
  const base = (name) => `${stack.url}/sandbox/as/${site(name)}/fhir`;
  const apps = {};
  let fresh = 0;

  const chart = async (name) => new Map((await operator(stack, 'GET', `/census?patient=${CASES[name].who.id}`)).map((raw) => [keyOf(raw), raw]));
  const requests = async (name) => (await operator(stack, 'GET', `/requests?personality=${site(name)}`)).requests.map((r) => r.target);
  const forget = (name) => operator(stack, 'DELETE', `/requests?personality=${site(name)}`);
  const vanished = async (name) => new Set((await stack.sql(`SELECT r.resource_type, r.upstream_id FROM record r JOIN patient p ON p.id = r.patient WHERE p.patient_id = '${apps[name]}' AND r.vanished_at IS NOT NULL`)).map(([type, id]) => `${type}/${id}`));

  async function put(name, resource) {
    await operator(stack, 'POST', `/patients/${CASES[name].who.id}/chart`, resource);
  }

  async function edit(name, { remove }) {
    const { id } = CASES[name].who;
    const observations = [...(await chart(name)).keys()].filter((k) => k.startsWith('Observation/'));
    const now = new Date().toISOString().slice(0, 19) + 'Z';
    for (let i = 0; i < 5; i++) await put(name, editObservation(id, observations[random(observations.length)].slice(12), now, random(100000)));
    for (let i = 0; i < 3; i++) await put(name, editObservation(id, `${id}-new-${++fresh}`, now, random(100000)));
    for (let i = 0; remove && i < 4; i++) {
      const victim = observations.splice(random(observations.length), 1)[0];
      await operator(stack, 'DELETE', `/patients/${id}/chart/${victim}`);
    }
  }

  async function pull(name, mode) {
    const before = await stack.ctlJson('pull', 'status', '--patient', apps[name], '--org', stack.org);
    if (mode === 'full') await stack.ctl('pull', 'start', '--patient', apps[name], '--org', stack.org);
    else await stack.sql(`UPDATE job j JOIN pull u ON u.id = j.subject JOIN patient p ON p.id = u.patient SET j.ready_at = UTC_TIMESTAMP(3) WHERE p.patient_id = '${apps[name]}' AND u.status = 1`);
    const ended = await pullEnd(stack, apps[name], { count: before.length + 1 });
    assert.equal(ended.status, 'complete', JSON.stringify(ended));
    assert.equal(ended.mode, mode);
    return ended;
  }

  async function same(name, { gone = true } = {}) {
    const [want, dead] = [await chart(name), await vanished(name)];
    const got = new Map((await allRecords(stack, apps[name])).map((raw) => [keyOf(raw), raw]));
    for (const [key, raw] of want) {
      assert.ok(!dead.has(key), `${key} is there and marked`);
      if (!key.startsWith('Patient/')) assert.equal(got.get(key), raw, key);
    }
    for (const key of got.keys()) assert.ok(want.has(key) || dead.has(key) || !gone, `${key} has gone and is not marked`);
  }

  test('a chart that changes: connected at five servers', async () => {
    const rows = Object.keys(CASES).map((name) => ({ URL: base(name), OrganizationName: `Changing ${name}`, NPIID: '', OrganizationZipCode: '' }));
    for (const [name, { quirks }] of Object.entries(CASES)) await operator(stack, 'POST', '/personalities', { name: site(name), quirks });
    const file = path.join(stack.state, 'incremental.json');
    writeFileSync(file, JSON.stringify({ Endpoints: rows }));
    await stack.ctl('source', 'import', file, '--env', 'sandbox', '--vendor', VENDOR);
    await stack.ctl('client', 'add', '--vendor', VENDOR, '--host', new URL(stack.url).host, '--client-id', 'chartway-sandbox', '--auth', 'none', '--slug', VENDOR, '--env', 'sandbox');
    for (const [name, { profile }] of Object.entries(CASES)) {
      if (profile) await stack.ctl('client', 'add', '--source', base(name), '--client-id', 'chartway-sandbox', '--auth', 'none', '--profile', profile, '--slug', site(name));
    }
    for (const [name, { who }] of Object.entries(CASES)) {
      const journey = await Journey.begin(stack, { connection_id: base(name) });
      const back = await journey.connect(undefined, who.name);
      assert.equal(new URL(back.location ?? 'http://none').searchParams.get('success'), 'true', back.location ?? back.text);
      apps[name] = journey.session.patient_id;
    }
    for (const name of Object.keys(CASES)) {
      const ended = await pullEnd(stack, apps[name]);
      assert.equal(ended.status, 'complete');
      assert.deepEqual([ended.mode, ended.stored, ended.created, ended.vanished], ['full', 132, 132, 0]);
      await same(name);
      const [next] = await stack.ctlJson('pull', 'status', '--patient', apps[name], '--org', stack.org, '--next');
      assert.equal(next.mode, 'incremental');
      assert.ok(Date.parse(next.next_pull_at) > Date.now() + 11 * 3_600_000, next.next_pull_at);
    }
  });

  test('incremental pulls bring what changed', async () => {
    for (const name of Object.keys(CASES)) {
      await edit(name, { remove: false });
      await forget(name);
      const ended = await pull(name, 'incremental');
      await same(name);
      const all = await requests(name);
      if (CASES[name].profile) assert.ok(!all.some((t) => /_count=1(&|$)/.test(t)), 'nothing is tested where the profile says it');
      const searches = all.filter((t) => t.startsWith('/Observation?') && !/_count=1(&|$)/.test(t));
      const filtered = searches.filter((t) => t.includes('_lastUpdated=gt2024-05-01T09%3A50%3A00Z'));
      assert.equal(filtered.length, isReal(name) ? searches.length : 0, searches.join('\n'));
      assert.equal(ended.created, 3);
      assert.ok(ended.stored >= 4 && ended.stored <= 8, JSON.stringify(ended));
    }
    // Goals here have no lastUpdated: a filter finds none of them, and is not used.
    const known = async (name) => new Map((await stack.sql(`SELECT m.resource_type, m.last_updated FROM endpoint_search_memory m JOIN endpoint e ON e.id = m.endpoint WHERE e.url = '${base(name)}'`)).map(([type, is]) => [type, Number(is)]));
    const [real, ignored, refused] = [await known('real'), await known('ignored'), await known('refused')];
    assert.deepEqual([real.get('Observation'), real.get('Goal'), ignored.get('Observation'), refused.get('Observation')], [1, 2, 2, 3]);
    // Again: what a filter does is known by now, and asked no more. The watermark stands at what was changed.
    for (const name of Object.keys(CASES)) {
      await edit(name, { remove: false });
      await forget(name);
      const ended = await pull(name, 'incremental');
      await same(name);
      const asked = await requests(name);
      assert.ok(!asked.some((t) => t.startsWith('/Observation?') && /_count=1(&|$)/.test(t)), 'tested once');
      if (isReal(name)) assert.ok(ended.received < 60, `a filtered pull received ${ended.received}`);
      else assert.ok(ended.received >= 132, `an unfiltered one received ${ended.received}`);
    }
  });

  test('what a source has no longer is marked after a full pull, and comes back', async () => {
    for (const name of Object.keys(CASES)) {
      await edit(name, { remove: true });
      await pull(name, 'incremental');
      await same(name, { gone: false });
      assert.equal((await vanished(name)).size, 0, 'only a full pull can know');
      const ended = await pull(name, 'full');
      await same(name);
      assert.deepEqual([ended.vanished, ended.errors, (await vanished(name)).size], [4, 0, 4]);
      // One is there again, as it was: even an unchanged one loses its mark.
      const [back] = await vanished(name);
      const old = new Map((await allRecords(stack, apps[name])).map((raw) => [keyOf(raw), raw])).get(back);
      await put(name, JSON.parse(old));
      const again = await pull(name, 'full');
      assert.deepEqual([again.vanished, (await vanished(name)).size], [0, 3]);
      await same(name);
    }
  });

  test('twelve rounds at random: the store is the chart', async () => {
    for (let round = 0; round < 12; round++) {
      const name = Object.keys(CASES)[random(5)];
      const mode = random(2) ? 'full' : 'incremental';
      await edit(name, { remove: random(2) === 1 });
      await pull(name, mode);
      await same(name, { gone: mode === 'full' });
    }
  });

  test('too many at once are not believed', async () => {
    const observations = [...(await chart('real')).keys()].filter((k) => k.startsWith('Observation/'));
    const kept = new Map([...(await chart('real'))].filter(([key]) => observations.slice(0, 60).includes(key)));
    for (const key of kept.keys()) await operator(stack, 'DELETE', `/patients/edit-1/chart/${key}`);
    const before = (await vanished('real')).size;
    const ended = await pull('real', 'full');
    assert.deepEqual([ended.vanished, ended.vanish_suspected, (await vanished('real')).size], [0, 1, before]);
    for (const raw of kept.values()) await put('real', JSON.parse(raw));
    await pull('real', 'full');
    await same('real');
  });

  test('a policy of a source, which the janitor carries out', async () => {
    const next = async () => (await stack.ctlJson('pull', 'status', '--patient', apps.real, '--org', stack.org, '--next'))[0];
    const list = await stack.ctlJson('pull', 'policy', stack.org, '--source', base('real'), '--incremental', '6h', '--full', '12h');
    assert.deepEqual(list.map(({ incremental, full, enabled }) => [incremental, full, enabled]), [['1d', '7d', true], ['6h', '12h', true]]);
    const soon = await until('the new plan', async () => {
      const row = await next();
      return row.next_pull_at && Date.parse(row.next_pull_at) < Date.now() + 6 * 3_600_000 ? row : undefined;
    }, { ms: 30_000, every: 500 });
    assert.ok(Date.parse(soon.next_pull_at) > Date.now() + 5 * 3_600_000);
    await stack.ctl('pull', 'policy', stack.org, '--source', base('real'), '--off');
    await until('the hold', async () => ((await next()).held === 'policy_off' ? true : undefined), { ms: 30_000, every: 500 });
    await stack.ctl('pull', 'policy', stack.org, '--source', base('real'), '--on');
    await until('the plan again', async () => ((await next()).next_pull_at ? true : undefined), { ms: 30_000, every: 500 });
  });
}
