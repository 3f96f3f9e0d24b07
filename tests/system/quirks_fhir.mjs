// SPDX-License-Identifier: Apache-2.0
// How real FHIR servers depart from the rules, each played by a personality of the sandbox hospital, and what a pull makes of it. The
// numbers are those of doc/smart-rules.md. All connections are made at once, since most of a pull is waiting; each test looks at its own.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { allRecords, Journey, operator, pullEnd } from './lib/patient.mjs';
import { until } from './lib/stack.mjs';

const VENDOR = 'fhir-played-by-sandbox'; // no profile has this name
const QUINN = { id: 'quirk-1', name: 'Quinn Quirk' };
const BEA = { id: '-20140000008325', name: 'Bea Bluebutton' };
const SCOPES = 'openid fhirUser launch/patient offline_access patient/*.rs'; // as registered there
const EPIC = { profile: 'epic', scopes: SCOPES };
const ORACLE = { profile: 'cerner', scopes: SCOPES };

// Each case: the quirks, and the vendor profile of the registration where it is not the plain one.
const CASES = {
  'epic-searches': { quirks: ['observation-needs-category', 'careplan-needs-category', 'careteam-active-only', 'episode-needs-type', 'no-last-updated', 'patient-search-rejected'], ...EPIC },
  'unknown-searches': { quirks: ['observation-needs-category', 'careplan-assess-plan', 'careteam-active-only', 'condition-needs-category', 'medication-needs-intent', 'patient-search-rejected'] },
  refusals: { quirks: ['search-405', 'api-403', 'firewall-page', 'warnings'] },
  'glass': { quirks: ['break-the-glass'] },
  'paging-over': { quirks: ['paging-expires'] },
  'late': { quirks: ['patient-late'] },
  'documents': { quirks: ['documents-a-day'], ...EPIC },
  'documents-403': { quirks: ['documents-a-day-403'] },
  'merged': { quirks: ['patient-merged'], ...EPIC },
  'moved': { quirks: ['base-moved'], ...EPIC },
  'tenant': { quirks: ['tenant-gone'], ...ORACLE },
  'oracle': { quirks: ['json-only', 'versions-on-pages', 'xr-404', 'dates-closed', 'careplan-assess-plan'], ...ORACLE },
  'defect': { quirks: ['data-defect'] },
  'plain-json': { quirks: ['plain-json-only'] },
  'raw-documents': { quirks: ['binary-raw-only'] },
  'practice': { quirks: ['ah-practice', 'ah-practice-wanted', 'medication-needs-intent'], profile: 'athena', scopes: SCOPES },
  'silent-rate': { quirks: ['rate-silent', 'ten-types'], profile: 'uhc' },
  'va-rate': { quirks: ['rate-60', 'aud-refused'], profile: 'va' },
  'withheld': { quirks: ['demographics-withheld', 'count-50'], who: BEA, profile: 'default' },
  'withheld-403': { quirks: ['demographics-withheld-403'], who: BEA, profile: 'bluebutton' },
  'counted': { quirks: ['count-50'], who: BEA },
  'counted-pages': { quirks: ['count-50'] },
  'ten': { quirks: ['ten-types'], profile: 'uhc' },
  'nextgen': { quirks: ['condition-needs-category', 'careplan-assess-plan', 'aud-refused'], profile: 'nextgen' },
  'quest': { quirks: ['laboratory-only'] },
  'links-relative-page': { quirks: ['links-relative', 'links-prev'] },
  'links-root-page': { quirks: ['links-root-relative'] },
  'links-inside-page': { quirks: ['links-inside'] },
  'links-host-page': { quirks: ['links-at-root'] },
  'links-self-page': { quirks: ['links-self'] },
  'poor-metadata': { quirks: ['metadata-empty'] },
  'short-metadata': { quirks: ['metadata-no-params'] },
  'old-version': { quirks: [] },
};

const typeOf = (target) => /^\/([A-Za-z]+)/.exec(target)?.[1] ?? 'page';
const isSearch = (target) => /^\/[A-Za-z]+\?/.test(target);
const key = (raw) => {
  const { resourceType, id } = JSON.parse(raw);
  return `${resourceType}/${id}`;
};

export default function add(stack) {
  const site = (name) => `fhir-${name}`;
  const base = (name) => `${stack.url}/sandbox/as/${site(name)}/fhir`;
  const pulls = new Map();
  let started;

  async function furnish() {
    const rows = [];
    for (const [name, { quirks }] of Object.entries(CASES)) {
      await operator(stack, 'POST', '/personalities', { name: site(name), quirks });
      rows.push({ URL: base(name), OrganizationName: `Quirk ${name}`, NPIID: '', OrganizationZipCode: '' });
    }
    const file = path.join(stack.state, 'quirks-fhir.json');
    writeFileSync(file, JSON.stringify({ Endpoints: rows }));
    await stack.ctl('source', 'import', file, '--env', 'sandbox', '--vendor', VENDOR);
    await stack.ctl('client', 'add', '--vendor', VENDOR, '--host', new URL(stack.url).host, '--client-id', 'chartway-sandbox', '--auth', 'none', '--slug', VENDOR, '--env', 'sandbox');
    for (const [name, { profile, scopes }] of Object.entries(CASES)) {
      if (profile) await stack.ctl('client', 'add', '--source', base(name), '--client-id', 'chartway-sandbox', '--auth', 'none', '--profile', profile, '--slug', site(name), ...(scopes ? ['--scopes', scopes] : []));
    }
  }

  async function connect(name) {
    const who = CASES[name].who ?? QUINN;
    const journey = await Journey.begin(stack, { connection_id: base(name) });
    const back = await journey.connect(undefined, who.name);
    assert.equal(new URL(back.location ?? 'http://none').searchParams.get('success'), 'true', `${name}: ${back.location ?? back.text}`);
    return journey.session.patient_id;
  }

  // A few at a time: the portal's pages cost more than the pulls.
  async function connectAll() {
    await furnish();
    const names = Object.keys(CASES).sort((a, b) => b.includes('rate') - a.includes('rate')); // what waits for a minute first
    const waiting = names.map((name) => new Promise((resolve, reject) => pulls.set(name, { resolve, reject })));
    names.forEach((name, i) => Object.assign(pulls.get(name), { app: waiting[i] }));
    for (const app of waiting) app.catch(() => {});
    const worker = async () => {
      for (let name = names.shift(); name; name = names.shift()) await connect(name).then(pulls.get(name).resolve, pulls.get(name).reject);
    };
    Promise.all([worker(), worker(), worker()]);
    // One pull is just within the minute's budget, so that one has another at once.
    pulls.get('va-rate').again = pulled('va-rate').then(({ app }) => stack.ctl('pull', 'start', '--patient', app, '--org', stack.org));
    pulls.get('va-rate').again.catch(() => {});
  }

  const asked = async (name) => (await operator(stack, 'GET', `/requests?personality=${site(name)}`)).requests;

  async function tasksOf(app, nth = 0) {
    const rows = await stack.sql(`SELECT t.kind, t.resource_type, t.status, COALESCE(t.failure_code, ''), t.pages, t.received FROM pull_task t JOIN pull u ON u.id = t.pull JOIN patient p ON p.id = u.patient WHERE p.patient_id = '${app}' AND u.id = (SELECT u2.id FROM pull u2 JOIN patient p2 ON p2.id = u2.patient WHERE p2.patient_id = '${app}' ORDER BY u2.id LIMIT 1 OFFSET ${nth})`);
    return rows.map(([kind, type, status, code, pages, received]) => ({ kind: ['', 'read', 'search', 'reference', 'document'][kind], type, status: ['', 'waiting', 'done', 'failed', 'skipped'][status], code, pages: Number(pages), received: Number(received) }));
  }

  // Waits for the case's first pull: what became of it.
  async function pulled(name, ms = 60_000) {
    await (started ??= connectAll());
    const app = await pulls.get(name).app;
    const pull = await until(`the pull of ${name}`, async () => {
      const all = await stack.ctlJson('pull', 'status', '--patient', app, '--org', stack.org);
      const first = all.at(-1);
      return ['complete', 'partial', 'failed'].includes(first?.status) ? first : undefined;
    }, { ms, every: 300 });
    return { app, pull, tasks: await tasksOf(app), requests: await asked(name), who: CASES[name].who ?? QUINN };
  }

  // All of the chart, byte for byte, but what `without` leaves out.
  async function whole({ app, who }, without = () => false) {
    const chart = new Map((await operator(stack, 'GET', `/census?patient=${encodeURIComponent(who.id)}`)).map((raw) => [key(raw), raw]));
    const got = new Map((await allRecords(stack, app)).map((raw) => [key(raw), raw]));
    const missing = [...chart.keys()].filter((k) => !got.has(k) && !without(k));
    assert.deepEqual(missing, [], 'what is missing');
    for (const [k, raw] of got) {
      assert.ok(!without(k), `${k} must not be there`);
      if (!k.startsWith('Patient/')) assert.equal(raw, chart.get(k), k);
    }
    return got;
  }

  const problems = (tasks, type) => tasks.filter((t) => t.type === type && t.status === 'failed').map((t) => t.code);
  const searches = (requests, type) => requests.filter((r) => typeOf(r.target) === type && isSearch(r.target));
  const complete = ({ pull, tasks }) => assert.equal(pull.status, 'complete', JSON.stringify([pull, tasks.filter((t) => t.code)]));
  // Binary is asked for as a document, twice where a form was refused.
  const documents = (requests) => requests.filter((r) => r.target.startsWith('/Binary/'));

  test('quirk 9: Observations by category only', async () => {
    const got = await pulled('epic-searches');
    complete(got);
    await whole(got);
    const asked = searches(got.requests, 'Observation');
    assert.ok(asked.length >= 10 && asked.every((r) => r.target.includes('category=') && r.status === 200), JSON.stringify(asked));
    for (const known of ['laboratory', 'vital-signs', 'social-history']) assert.equal(asked.filter((r) => r.target.includes(`category=${known}&`)).length, 1);
    // A server that is not known to want categories: refused once, and not asked in ever smaller ways.
    const unknown = await pulled('unknown-searches');
    complete(unknown);
    await whole(unknown);
    assert.equal(searches(unknown.requests, 'Observation').filter((r) => !r.target.includes('category=')).length, 1, 'the bare search, once');
    assert.ok(searches(unknown.requests, 'Observation').some((r) => r.target.includes('category=therapy') && r.status === 400), 'an unknown category is tolerated');
  });

  test('quirk 10: CarePlans by category', async () => {
    const { tasks, requests } = await pulled('epic-searches');
    assert.ok(searches(requests, 'CarePlan').length >= 10 && searches(requests, 'CarePlan').every((r) => r.target.includes('category=') && r.status === 200));
    assert.deepEqual(problems(tasks, 'CarePlan'), []);
  });

  test('quirk 11: CareTeams by status=active', async () => {
    const { tasks, requests } = await pulled('epic-searches');
    assert.deepEqual(searches(requests, 'CareTeam').map((r) => r.target.includes('status=active')), [true]);
    assert.deepEqual(problems(tasks, 'CareTeam'), []);
  });

  test('quirk 12: EpisodeOfCare is not searched, but read where something names it', async () => {
    const { app, tasks, requests } = await pulled('epic-searches');
    assert.deepEqual(requests.filter((r) => typeOf(r.target) === 'EpisodeOfCare').map((r) => r.target), ['/EpisodeOfCare/q-episode']);
    assert.deepEqual(tasks.filter((t) => t.type === 'EpisodeOfCare').map((t) => [t.kind, t.status, t.code]).sort(), [['reference', 'done', ''], ['search', 'skipped', 'vendor_profile']]);
    assert.ok((await allRecords(stack, app)).some((raw) => key(raw) === 'EpisodeOfCare/q-episode'));
  });

  test('quirk 13: no _lastUpdated; a second full pull writes nothing', async () => {
    const { app, requests } = await pulled('epic-searches');
    assert.ok(requests.every((r) => !r.target.includes('_lastUpdated')));
    const before = documents(await asked('epic-searches')).length;
    await stack.ctl('pull', 'start', '--patient', app, '--org', stack.org);
    const again = await pullEnd(stack, app, { count: 2 });
    assert.equal(again.status, 'complete');
    assert.equal(again.stored, 0);
    assert.ok(again.unchanged > 60, `${again.unchanged}`);
    assert.equal(documents(await asked('epic-searches')).length, before, 'no document is fetched twice');
  });

  test('quirk 14: the Patient is read, never searched', async () => {
    for (const name of ['epic-searches', 'unknown-searches']) {
      const { requests } = await pulled(name);
      assert.equal(requests.filter((r) => r.target === '/Patient/quirk-1').length, name === 'epic-searches' ? 2 : 1); // that one was pulled twice
      assert.deepEqual(searches(requests, 'Patient'), []);
    }
  });

  test('quirk 21: nothing is searched by POST', async () => {
    for (const name of ['epic-searches', 'unknown-searches']) {
      const { requests } = await pulled(name);
      assert.ok(requests.length > 60 && requests.every((r) => !r.target.includes('_search')));
    }
  });

  test('quirk 15: 405 and an empty 403 are the last word for a type', async () => {
    const got = await pulled('refusals');
    complete(got);
    await whole(got, (k) => k.startsWith('FamilyMemberHistory/') || k.startsWith('ServiceRequest/'));
    assert.deepEqual(problems(got.tasks, 'FamilyMemberHistory'), ['not_offered']);
    assert.deepEqual(problems(got.tasks, 'ServiceRequest'), ['no_access']);
    for (const type of ['FamilyMemberHistory', 'ServiceRequest']) assert.equal(searches(got.requests, type).length, 1, `${type} is asked once`);
  });

  test('quirk 15: the page of a firewall is no denial', async () => {
    const { app, requests } = await pulled('refusals');
    assert.deepEqual(searches(requests, 'Immunization').map((r) => r.status), [403, 200]);
    assert.ok((await allRecords(stack, app)).some((raw) => key(raw) === 'Immunization/q-immunization'));
  });

  for (const [name, status] of [['documents', 200], ['documents-403', 403]]) {
    test(`quirk 16: a day's documents are over, with ${status}`, async () => {
      const got = await pulled(name);
      assert.equal(got.pull.status, 'partial', JSON.stringify(got.tasks.filter((t) => t.code)));
      const fetched = documents(got.requests);
      assert.equal(fetched.filter((r) => r.status === 200).length, status === 200 ? fetched.length : 2);
      assert.ok(fetched.length <= 4, `${fetched.length}: what was in flight, and no more`);
      const over = got.tasks.filter((t) => t.kind === 'document' && t.code === 'daily_limit').length;
      assert.equal(over, 2, 'two of four documents');
      const [[wait]] = await stack.sql(`SELECT TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(), j.ready_at) FROM job j JOIN pull u ON u.id = j.subject JOIN patient p ON p.id = u.patient WHERE p.patient_id = '${got.app}'`);
      assert.ok(Number(wait) >= 23 && Number(wait) <= 25, `the next pull in ${wait} hours`);
    });
  }

  test('quirk 16: the next day brings the rest, and only that', async () => {
    const { app } = await pulled('documents');
    const have = (await allRecords(stack, app)).map(key).filter((k) => k.startsWith('Binary/'));
    assert.equal(have.length, 2);
    await operator(stack, 'DELETE', `/requests?personality=${site('documents')}`); // another day
    await stack.ctl('pull', 'start', '--patient', app, '--org', stack.org);
    const again = await pullEnd(stack, app, { count: 2 });
    assert.equal(again.status, 'complete', JSON.stringify(await tasksOf(app, 1)));
    await whole({ app, who: QUINN });
    const fetched = documents(await asked('documents')).map((r) => r.target.slice(1));
    assert.equal(fetched.length, 2);
    assert.ok(fetched.every((k) => !have.includes(k)), `${fetched} of ${have}`);
  });

  test('quirk 17: a paging session that expires is begun anew', async () => {
    const got = await pulled('paging-over');
    complete(got);
    await whole(got);
    assert.equal(got.requests.filter((r) => r.target.startsWith('?_getpages=') && r.status === 400).length, 1);
    assert.ok(got.requests.some((r) => r.target.startsWith('?_getpages=') && r.status === 200));
  });

  test('quirk 18: warnings among the entries are no records and no errors', async () => {
    const { app, tasks } = await pulled('refusals');
    assert.equal((await stack.sql(`SELECT COUNT(*) FROM record r JOIN patient p ON p.id = r.patient WHERE p.patient_id = '${app}' AND r.resource_type = 'OperationOutcome'`))[0][0], '0');
    assert.deepEqual(tasks.filter((t) => t.type === 'Goal').map((t) => [t.status, t.received]), [['done', 1]]);
  });

  test('quirk 19: break-the-glass is final, and nobody goes around it', async () => {
    const got = await pulled('glass');
    complete(got);
    await whole(got, (k) => k.startsWith('Condition/'));
    const tried = searches(got.requests, 'Condition').length;
    assert.equal(problems(got.tasks, 'Condition').filter((c) => c === 'access_withheld').length, 4, 'the bare search and three categories');
    assert.ok(tried <= 4 && new Set(searches(got.requests, 'Condition').map((r) => r.target)).size === tried, 'nothing twice');
  });

  test('quirk 20: a merged patient is followed, and remembered', async () => {
    const got = await pulled('merged');
    complete(got);
    const mine = (await allRecords(stack, got.app)).find((raw) => key(raw).startsWith('Patient/'));
    assert.equal(key(mine), 'Patient/quirk-1-merged');
    await operator(stack, 'DELETE', `/requests?personality=${site('merged')}`);
    await stack.ctl('pull', 'start', '--patient', got.app, '--org', stack.org);
    assert.equal((await pullEnd(stack, got.app, { count: 2 })).status, 'complete');
    const later = await asked('merged');
    assert.ok(later.filter((r) => isSearch(r.target)).every((r) => r.target.includes('patient=quirk-1-merged')));
    assert.deepEqual(later.filter((r) => typeOf(r.target) === 'Patient').map((r) => [r.target, r.status]), [['/Patient/quirk-1-merged', 200]]);
  });

  test('quirk 22: what one endpoint can do says nothing of the next of its vendor', async () => {
    const plans = {};
    for (const name of ['refusals', 'ten', 'poor-metadata']) {
      const { tasks } = await pulled(name);
      plans[name] = new Set(tasks.filter((t) => t.kind === 'search' && t.status !== 'skipped').map((t) => t.type));
    }
    assert.ok(plans.refusals.has('Goal') && !plans.ten.has('Goal') && plans['poor-metadata'].has('Goal'));
    const rows = await stack.sql(`SELECT COUNT(DISTINCT capability) FROM endpoint WHERE url LIKE '%/sandbox/as/fhir-%' AND capability IS NOT NULL`);
    assert.ok(Number(rows[0][0]) >= 3, `${rows}`);
  });

  // One answer says that the hospital is gone: no more than what was in flight is asked.
  async function gone(name) {
    const { pull, requests } = await pulled(name);
    assert.deepEqual([pull.status, pull.failure_code], ['failed', 'endpoint_moved']);
    assert.ok(requests.length >= 1 && requests.length <= 8, `${requests.length} requests`);
  }

  test('quirk 23: a base that was moved ends the pull at once', () => gone('moved'));
  test('quirk 40: a tenant that is not valid ends the pull at once', () => gone('tenant'));

  test('quirk 24: a Patient that is refused right after the consent is asked for again', async () => {
    const got = await pulled('late');
    complete(got);
    await whole(got);
    assert.deepEqual(got.requests.filter((r) => r.target.startsWith('/Patient/')).map((r) => r.status), [403, 200]);
  });

  test('quirk 31: pages go on with a new token', async () => {
    await pulled('quest');
    await operator(stack, 'POST', '/faults', { point: 'search', fault: 'expired', personality: site('quest'), type: 'Goal', count: 1 });
    const app = await pulls.get('quest').app;
    await stack.ctl('pull', 'start', '--patient', app, '--org', stack.org);
    assert.equal((await pullEnd(stack, app, { count: 2 })).status, 'complete');
    assert.deepEqual(searches(await asked('quest'), 'Goal').map((r) => r.status).slice(-2), [401, 200]);
  });

  test('quirk 34: JSON only, and a server that knows one form of it', async () => {
    const oracle = await pulled('oracle');
    assert.ok(oracle.requests.every((r) => r.status !== 406 && r.accept === 'application/fhir+json'));
    const plain = await pulled('plain-json');
    complete(plain);
    await whole(plain);
    const refused = plain.requests.filter((r) => r.status === 406);
    assert.ok(refused.length >= 1 && refused.length <= 9 && refused.length < plain.requests.length / 4,
      `${refused.length} of ${plain.requests.length}: learned once for resources and once for documents, but for those that were in flight`);
    const raw = await pulled('raw-documents');
    complete(raw);
    await whole(raw, (k) => k.startsWith('Binary/'));
    const rows = await stack.sql(`SELECT d.content_type, d.length FROM document d JOIN patient p ON p.id = d.patient WHERE p.patient_id = '${raw.app}' ORDER BY d.length`);
    assert.deepEqual(rows.map((r) => Number(r[1])), [4, 5, 6, 13]);
  });

  test('quirk 35: an older version on a later page replaces nothing', async () => {
    const got = await pulled('oracle');
    complete(got);
    const records = await whole(got, (k) => k === 'Binary/XR-1');
    assert.ok(got.requests.some((r) => r.target.startsWith('?_getpages=')), 'more than one page');
    assert.ok([...records.values()].every((raw) => !raw.includes('"language":"tlh"')), 'none of the older ones');
  });

  test('quirk 36: masked entries are kept as they were sent', async () => {
    const { app } = await pulled('oracle');
    const masked = (await allRecords(stack, app)).filter((raw) => raw.includes('"valueCode":"masked"'));
    assert.deepEqual(masked.map(key), ['Observation/q-obs-masked']);
  });

  test('quirk 38: of a document in two forms the one that is there comes', async () => {
    const got = await pulled('oracle');
    assert.ok((await allRecords(stack, got.app)).some((raw) => key(raw) === 'Binary/XML-1'));
    assert.deepEqual(got.tasks.filter((t) => t.kind === 'document' && t.status === 'failed').map((t) => t.code), ['not_found']);
    assert.equal(documents(got.requests).filter((r) => r.target === '/Binary/XR-1').length, 1, 'a denial is not asked again');
  });

  test('quirk 37: a record that cannot be shown costs itself, not its page', async () => {
    const got = await pulled('defect');
    assert.equal(got.pull.status, 'partial');
    await whole(got, (k) => false || k === 'nothing').then(() => assert.fail('all of it came'), () => {});
    const ids = (await allRecords(stack, got.app)).map(key);
    assert.ok(ids.includes('Observation/q-obs-0') && ids.includes('Observation/q-obs-1') && !ids.includes('Observation/q-obs-2'), `${ids.filter((k) => k.startsWith('Observation'))}`);
    assert.ok(ids.includes('Observation/q-obs-60'), 'another category came whole');
    const bare = searches(got.requests, 'Observation').filter((r) => !r.target.includes('category='));
    assert.deepEqual(bare.map((r) => [r.status, r.target.includes('_count=1')]).map(String), ['500,false', '500,false', '200,true']);
    assert.ok(got.tasks.some((t) => t.code === 'data_defect'));
  });

  test('quirk 40: dates never come alone', async () => {
    const { requests } = await pulled('oracle');
    assert.ok(requests.every((r) => !/[?&](date|_lastUpdated|issued|authoredon)=/.test(r.target)));
    assert.ok(searches(requests, 'CarePlan').every((r) => r.target.includes('category=assess-plan') && r.status === 200));
  });

  test('quirk 41: the practice goes into every search', async () => {
    const got = await pulled('practice');
    complete(got);
    await whole(got);
    const asked = got.requests.filter((r) => isSearch(r.target));
    assert.ok(asked.length > 20 && asked.every((r) => /[?&]ah-practice=Organization(%2F|\/)a-1\.Practice-[^&]+/.test(r.target)), JSON.stringify(asked[0]));
  });

  test('quirk 43: medications are searched by intent', async () => {
    const got = await pulled('practice');
    assert.deepEqual(searches(got.requests, 'MedicationRequest').map((r) => r.target.includes('intent=order,plan')), [true]);
    const unknown = await pulled('unknown-searches');
    assert.ok(searches(unknown.requests, 'MedicationRequest').some((r) => r.target.includes('intent=') && r.status === 200));
  });

  test('quirk 44: a document inside its DocumentReference needs no request', async () => {
    const got = await pulled('practice');
    assert.equal(new Set(documents(got.requests).map((r) => r.target)).size, 4);
    const inline = (await allRecords(stack, got.app)).find((raw) => key(raw) === 'DocumentReference/q-doc-inline');
    assert.ok(inline.includes(Buffer.from('inside').toString('base64')));
  });

  test('quirk 50: ids that look like negative numbers', async () => {
    const got = await pulled('counted');
    assert.ok(got.requests.some((r) => r.target === '/Patient/-20140000008325' && r.status === 200));
    assert.ok(got.requests.filter((r) => isSearch(r.target)).every((r) => r.target.includes('patient=-20140000008325')));
  });

  test('quirk 53: pages of 50 at most, contained and logical references', async () => {
    const got = await pulled('counted');
    complete(got);
    await whole(got);
    const claims = searches(got.requests, 'ExplanationOfBenefit');
    assert.ok(claims.length === 1 && claims[0].target.includes('_count=50'), 'one page of 50');
    const more = await pulled('counted-pages');
    complete(more);
    await whole(more);
    assert.ok(searches(more.requests, 'Observation').some((r) => r.target.includes('startIndex=50') && r.status === 200));
    assert.ok(got.requests.every((r) => !['Organization', 'Practitioner'].includes(typeOf(r.target))), 'nothing contained or logical is asked for');
  });

  test('quirk 52: demographics withheld, by 401 or 403, are not a dead token', async () => {
    for (const name of ['withheld', 'withheld-403']) {
      const got = await pulled(name);
      complete(got);
      await whole(got, (k) => k.startsWith('Patient/'));
      assert.deepEqual(problems(got.tasks, 'Patient'), [name === 'withheld' ? 'unauthorized' : 'no_access']);
      const reads = got.requests.filter((r) => r.target.startsWith('/Patient/'));
      // After a 401 once more at most, where no other request has shown the token to be good.
      assert.ok(reads.length >= 1 && reads.length <= (name === 'withheld' ? 2 : 1), `${reads.length} reads`);
      assert.equal((await stack.api('GET', `/patients/${got.app}`)).json.connections[0].status, 'active');
    }
    assert.ok((await pulled('withheld-403')).requests.every((r) => ['Patient', 'Coverage', 'ExplanationOfBenefit'].includes(typeOf(r.target))), 'three types, as the profile says');
  });

  test('quirk 54: ten types, and no request for an eleventh', async () => {
    const got = await pulled('ten');
    complete(got);
    const ten = ['Condition', 'Coverage', 'Encounter', 'ExplanationOfBenefit', 'Immunization', 'MedicationDispense', 'MedicationRequest', 'Observation', 'Patient', 'Procedure'];
    assert.deepEqual([...new Set(searches(got.requests, 'x').concat(got.requests.filter((r) => isSearch(r.target))).map((r) => typeOf(r.target)))].filter((t) => !ten.includes(t)), []);
    await whole(got, (k) => !ten.includes(k.split('/')[0]));
  });

  test('quirk 56: NextGen, conditions by category and plans by assess-plan', async () => {
    const got = await pulled('nextgen');
    complete(got);
    await whole(got);
    assert.deepEqual(searches(got.requests, 'Condition').map((r) => r.status), [200, 200, 200]);
    assert.deepEqual(searches(got.requests, 'CarePlan').map((r) => r.target.includes('category=assess-plan')), [true]);
  });

  for (const name of ['links-relative-page', 'links-root-page', 'links-inside-page', 'links-host-page']) {
    test(`quirk 59: ${name}`, async () => {
      const got = await pulled(name);
      complete(got);
      await whole(got);
      assert.ok(got.requests.some((r) => r.target.startsWith('?_getpages=') && r.status === 200 && r.bearer));
    });
  }

  test('quirk 59: next is the page itself', async () => {
    const got = await pulled('links-self-page');
    assert.equal(got.pull.status, 'partial');
    assert.ok(problems(got.tasks, 'Observation').includes('paging_loop'));
    const bare = searches(got.requests, 'Observation').filter((r) => !r.target.includes('category='));
    assert.equal(bare.length, 1, 'asked once');
  });

  test('quirk 60: documents that say too little, and one of another version', async () => {
    for (const name of ['poor-metadata', 'short-metadata']) {
      const got = await pulled(name);
      complete(got);
      await whole(got);
    }
    // A server that goes back to another version after the patient has connected; before, the picker refuses it.
    const { app, requests } = await pulled('old-version');
    await operator(stack, 'POST', '/personalities', { name: site('old-version'), quirks: ['dstu2'] });
    await stack.sql(`UPDATE endpoint SET capability = NULL WHERE url = '${base('old-version')}'`);
    await stack.ctl('pull', 'start', '--patient', app, '--org', stack.org);
    const again = await pullEnd(stack, app, { count: 2 });
    assert.deepEqual([again.status, again.failure_code], ['failed', 'fhir_version_unsupported']);
    assert.equal((await asked('old-version')).length, requests.length, 'nothing is asked with a token');
  });

  test('bonus quirk: laboratory results alone', async () => {
    const got = await pulled('quest');
    complete(got);
    const ids = (await allRecords(stack, got.app)).map(key);
    assert.equal(ids.filter((k) => k.startsWith('Observation/')).length, 61);
    assert.ok(ids.includes('DiagnosticReport/q-report'));
  });

  test('quirk 47: a budget of 60 requests a minute is never passed', async () => {
    const got = await pulled('va-rate', 150_000);
    complete(got);
    await pulls.get('va-rate').again;
    assert.equal((await pullEnd(stack, got.app, { count: 2 })).status, 'complete');
    got.requests = await asked('va-rate');
    await whole(got, (k) => k.startsWith('EpisodeOfCare/')); // no scope was asked for it
    assert.equal(got.requests.filter((r) => r.status === 429).length, 0);
    const at = got.requests.map((r) => Date.parse(r.at)).sort((a, b) => a - b);
    assert.ok(at.length > 60, `${at.length} requests`);
    for (let i = 60; i < at.length; i++) assert.ok(at[i] - at[i - 60] >= 59_000, `${at[i] - at[i - 60]} ms for 60 requests`);
  });

  test('quirk 47: 429 without a word is obeyed until the next full minute', async () => {
    const got = await pulled('silent-rate', 150_000);
    complete(got);
    assert.ok((await allRecords(stack, got.app)).length > 60);
    const refused = got.requests.filter((r) => r.status === 429);
    assert.ok(refused.length >= 1 && refused.length <= 16, `${refused.length}: those in flight, once a minute`);
    const minutes = new Set(got.requests.map((r) => Math.floor(Date.parse(r.at) / 60_000)));
    assert.ok(minutes.size >= 2 && refused.length <= 6 * minutes.size, `${refused.length} in ${minutes.size} minutes`);
  });
}
