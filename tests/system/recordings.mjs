// SPDX-License-Identifier: Apache-2.0
// Recordings of whole syncs, played by the sandbox hospital: every resource in a 2xx answer to what was asked is stored byte for byte and once, and every
// refusal stands in the status of the pull with its reason. Two recordings are made here; those of vendors' test systems are played where the shared
// folder has them. The vendor profile is the one that the recorded host would have.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from './lib/runner.mjs';
import { allRecords, Journey, operator } from './lib/patient.mjs';
import { made, ONCE, Recording, resourcesIn } from './lib/recorded.mjs';
import { ROOT, until } from './lib/stack.mjs';

const SHARED = process.env.CHARTWAY_RECORDINGS ?? path.resolve(ROOT, '../shared/data/recordings'); // others can be tried by that variable
const SCOPES = 'openid fhirUser launch/patient offline_access patient/*.rs'; // as registered where the profile does not ask for any
const VENDOR = 'recorded-by-sandbox'; // no profile has this name

// The folder for the stack: the made recordings, and links to the shared ones, which are never copied.
export function furnish(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, make] of Object.entries(made)) writeFileSync(path.join(folder, `${name}.ndjson`), make());
  const shared = existsSync(SHARED) ? readdirSync(SHARED).filter((file) => file.endsWith('.ndjson')) : [];
  for (const file of shared) symlinkSync(path.join(SHARED, file), path.join(folder, file));
  return folder;
}

// The profile whose host suffix fits best; none: undefined.
function profileFor(host) {
  const folder = path.join(ROOT, 'conf/vendors');
  const fits = readdirSync(folder).filter((file) => file.endsWith('.json')).flatMap((file) => {
    const profile = JSON.parse(readFileSync(path.join(folder, file), 'utf8'));
    return (profile.match?.host_suffix ?? []).filter((suffix) => `.${host}`.endsWith(suffix)).map((suffix) => ({ name: path.basename(file, '.json'), suffix, ...profile }));
  });
  return fits.sort((a, b) => b.suffix.length - a.suffix.length)[0];
}

const key = (raw) => {
  const { resourceType, id } = JSON.parse(raw);
  return `${resourceType}/${id}`;
};
// Says that it is somebody else's: a mixed-up chart, which no pull may take over.
const isStranger = (raw, patient) => {
  const resource = JSON.parse(raw);
  const whose = [resource.subject, resource.patient, resource.beneficiary].map((r) => /(?:^|\/)Patient\/([^/]+)$/.exec(r?.reference)?.[1]).find(Boolean);
  return (resource.resourceType === 'Patient' ? resource.id : (whose ?? patient)) !== patient;
};
const typeOf = (target) => /^\/([A-Za-z]+)/.exec(target)?.[1];
const FIRST = /[?&](patient|subject|beneficiary)=/; // of a search; what a next link has of its own is opaque
const kindOf = (target) => (/[?$]/.test(target) ? 'search' : 'read');
const groupOf = (task) => (task.kind === 'search' ? 'search' : 'read'); // a reference, a document and the Patient are reads
// What the status of a pull may say of an answer.
const WORDS = /^(access_withheld|daily_limit|data_defect|endpoint_moved|query_refused|server_error|rate_limited)$/; // by the body, whatever the status
const DENIED = /^(no_access|access_withheld|not_offered|not_found|unauthorized|gone)$/;
const REASONS = {
  200: /^[a-z_]+$/,
  400: /^query_refused$/, 401: /^(unauthorized|no_access)$/, 403: /^(no_access|access_withheld)$/, 404: /^not_found$/, 405: /^not_offered$/, 410: /^gone$/, 422: /^query_refused$/,
};

export default function add(stack, { recordings }) {
  const names = readdirSync(recordings).map((file) => path.basename(file, '.ndjson'));
  const siteOf = (name) => `recorded-${name.toLowerCase().replaceAll(/[^a-z0-9]/g, '-')}`;
  const baseOf = (name) => `${stack.url}/sandbox/as/${siteOf(name)}/fhir`;
  const pulls = new Map();
  let started;

  async function connect(name) {
    const recording = new Recording(readFileSync(path.join(recordings, `${name}.ndjson`), 'utf8'), baseOf(name));
    const profile = profileFor(new URL(recording.base).host);
    if (profile) await stack.ctl('source', 'profile', baseOf(name), profile.name);
    if (profile?.scope_dialect === 'fixed') await stack.ctl('client', 'add', '--source', baseOf(name), '--client-id', 'chartway-sandbox', '--auth', 'none', '--slug', siteOf(name), '--scopes', SCOPES);
    const journey = await Journey.begin(stack, { connection_id: baseOf(name) });
    const back = await journey.connect(undefined, '', ONCE.includes(name) ? { keep: (scope) => scope !== 'offline_access' } : {});
    assert.equal(new URL(back.location ?? 'http://none').searchParams.get('success'), 'true', `${name}: ${back.location ?? back.text}`);
    return { recording, app: journey.session.patient_id };
  }

  async function connectAll() {
    const file = path.join(stack.state, 'recordings.json');
    writeFileSync(file, JSON.stringify({ Endpoints: names.map((name) => ({ URL: baseOf(name), OrganizationName: `Recorded ${name}`, NPIID: '', OrganizationZipCode: '' })) }));
    await stack.ctl('source', 'import', file, '--env', 'sandbox', '--vendor', VENDOR);
    await stack.ctl('client', 'add', '--vendor', VENDOR, '--host', new URL(stack.url).host, '--client-id', 'chartway-sandbox', '--auth', 'none', '--slug', VENDOR, '--env', 'sandbox');
    for (const name of names) pulls.set(name, await connect(name).catch((error) => ({ error })));
  }

  // After the end of its pull: what was asked, and how the recording answered the last time.
  async function pulled(name) {
    await (started ??= connectAll());
    const { error, recording, app } = pulls.get(name);
    if (error) throw error;
    const pull = await until(`the pull of ${name}`, async () => {
      const [newest] = await stack.ctlJson('pull', 'status', '--patient', app, '--org', stack.org);
      return ['complete', 'partial', 'failed'].includes(newest?.status) ? newest : undefined;
    }, { ms: 150_000, every: 300 });
    const { requests } = await operator(stack, 'GET', `/requests?personality=${siteOf(name)}`);
    const tasks = await stack.ctlJson('pull', 'status', '--patient', app, '--org', stack.org, '--tasks');
    const receipt = (await stack.api('GET', `/patients/${app}/pulls/${pull.id}/receipt`)).json?.receipt;
    const patient = requests.map((r) => /^\/Patient\/([^/?]+)$/.exec(r.target)?.[1]).find(Boolean);
    return { recording, app, patient, pull, requests, tasks, receipt, records: await allRecords(stack, app) };
  }

  // The answers that came, in the order in which they were played.
  function played({ recording, requests }) {
    const turns = new Map();
    return requests.filter((r) => !r.missed && r.target !== '/metadata').map((r) => {
      const answers = recording.answers(r.target);
      assert.ok(answers, `${r.target} was recorded`);
      const turn = turns.get(answers) ?? 0;
      turns.set(answers, turn + 1);
      const answer = answers[Math.min(turn, answers.length - 1)];
      assert.equal(r.status, answer.status, r.target);
      return { target: r.target, ...answer };
    });
  }

  for (const name of names) {
    test(`recording ${name}: each resource of a 2xx answer is stored byte for byte, none twice`, async () => {
      const got = await pulled(name);
      const forms = new Map();
      const strangers = new Set();
      for (const { status, json, text } of played(got)) {
        if (status >= 300 || !json) continue;
        for (const raw of resourcesIn(text)) {
          if (isStranger(raw, got.patient)) strangers.add(key(raw));
          else forms.set(key(raw), [...(forms.get(key(raw)) ?? []), raw]);
        }
      }
      const served = new Map();
      for (const raw of got.records) {
        assert.ok(!served.has(key(raw)), `${key(raw)} twice`);
        served.set(key(raw), raw);
      }
      console.log(`  ${name}: ${got.pull.status}, ${got.requests.length} requests, ${got.requests.filter((r) => r.missed).length} not recorded, ${forms.size} resources, ${served.size} served`);
      assert.deepEqual([...forms.keys()].filter((k) => !served.has(k)), [], 'all of them are stored');
      assert.deepEqual([...served.keys()].filter((k) => !forms.has(k)), [], 'and nothing that was not answered');
      // A served Patient carries our own identifier too.
      for (const [k, texts] of forms) if (!k.startsWith('Patient/')) assert.ok(texts.includes(served.get(k)), `${k}: ${served.get(k)}\n${texts[0]}`);
      for (const stranger of strangers) assert.ok(got.receipt.left_out?.some((l) => l.type === stranger.split('/')[0] && l.reason === 'wrong_patient'), `${stranger}: ${JSON.stringify(got.receipt.left_out)}`);
      assert.ok(forms.size > 1, `${forms.size} resources`);
    });

    test(`recording ${name}: documents that came as bytes are kept whole`, async () => {
      const got = await pulled(name);
      const raw = new Map(played(got).filter((a) => a.status === 200 && !a.json && typeOf(a.target) === 'Binary').map((a) => [a.target, a.text.length]));
      const kept = (await stack.sql(`SELECT d.length FROM document d JOIN patient p ON p.id = d.patient WHERE p.patient_id = '${got.app}'`)).map(([length]) => Number(length));
      for (const [target, length] of raw) assert.ok(kept.includes(length), `${target}: ${length} in ${kept}`);
      assert.ok(raw.size > 0 || name !== 'made-plain');
    });

    test(`recording ${name}: each refusal stands there with its reason, and the connection lives`, async () => {
      const got = await pulled(name);
      // The last answer to each question; asking again without _count is the same question, and a further page belongs to its search.
      const last = new Map();
      for (const r of got.requests) {
        if (r.target === '/metadata' || (r.target.includes('?') && !FIRST.test(r.target))) continue;
        last.set(Recording.key(r.target.replace(/[?&]_count=[0-9]+/, '')), r);
      }
      const wanted = [];
      // An answer of 200 that is none (a page, an OperationOutcome) is a refusal too; its reason is the client's own word.
      const isAnswer = (target, missed) => {
        const { json, text } = missed ? {} : got.recording.answers(target).at(-1);
        return typeOf(target) === 'Binary' || (json && JSON.parse(text).resourceType !== 'OperationOutcome');
      };
      for (const [question, { target, status, missed }] of last) if (status >= 300 || !isAnswer(target, missed)) wanted.push({ kind: kindOf(target), type: typeOf(target), status, question });
      const failed = got.tasks.filter((t) => t.status === 'failed');
      for (const { kind, type, status, question } of wanted) {
        const at = failed.findIndex((t) => kind === groupOf(t) && t.type === type && ((name.startsWith('made-') ? undefined : WORDS)?.test(t.failure_code) || (REASONS[status] ?? WORDS).test(t.failure_code)));
        assert.ok(at >= 0, `${status} to ${question}: no reason in ${JSON.stringify(failed.filter((t) => t.type === type))}`);
        failed.splice(at, 1);
      }
      // What is left are searches of which a further page was refused; where it lies is opaque, so only its type may be known.
      const torn = got.requests.filter((r) => r.target.includes('?') && !FIRST.test(r.target) && r.status >= 300);
      assert.deepEqual(failed.filter((t) => t.pages === 0 || !torn.some((r) => [t.type, undefined].includes(typeOf(r.target)))), [], 'nothing has failed that was not refused');
      // The same in the receipt, where tasks of one type, code and status are added up.
      const problems = Object.entries({ ...Object.fromEntries(got.receipt.types.map((t) => [t.type, t])), documents: got.receipt.documents, references: got.receipt.references })
        .flatMap(([place, t]) => (t?.problems ?? []).filter((p) => p.status === 'failed').map((p) => ({ place, ...p })));
      for (const { kind, type, status, question } of wanted) {
        const problem = problems.find((p) => p.count > 0 && (kind === 'search' || p.place === type ? p.place === type : ['documents', 'references'].includes(p.place)) &&
          p.http_status === status && (WORDS.test(p.code) || (REASONS[status] ?? WORDS).test(p.code)));
        assert.ok(problem, `${status} to ${question}: not in the receipt: ${JSON.stringify(problems)}`);
        problem.count--;
      }
      assert.deepEqual(problems.filter((p) => p.count > 0 && !torn.some((r) => r.status === p.http_status)), [], 'and nothing else');
      assert.ok(got.tasks.every((t) => ['done', 'failed', 'skipped'].includes(t.status)), JSON.stringify(got.tasks.filter((t) => !['done', 'failed', 'skipped'].includes(t.status))));
      assert.ok(got.tasks.every((t) => t.status === 'done' || /^[a-z_]+$/.test(t.failure_code)), 'a reason each');
      assert.deepEqual((await stack.api('GET', `/patients/${got.app}`)).json.connections.map((c) => c.status), ['active']);
    });

    test(`recording ${name}: one pull and one end`, async () => {
      const got = await pulled(name);
      // Partial is for what could have been had: see decisions.md, 24. What was given or denied makes a pull complete.
      const unclear = got.tasks.filter((t) => t.status === 'failed' && (t.pages > 0 || !DENIED.test(t.failure_code)));
      assert.ok(got.pull.status === 'complete' || (got.pull.status === 'partial' && unclear.length > 0), JSON.stringify(got.pull));
      assert.equal((await stack.sql(`SELECT COUNT(*) FROM event e JOIN patient p ON p.id = e.patient WHERE p.patient_id = '${got.app}' AND e.kind IN (3, 4)`))[0][0], '1', 'one terminal event');
    });
  }

  test('recordings: Retry-After is waited for, claims bring what they name, $everything where it is good, and Epic is asked for nothing that it only reads', async () => {
    const { requests, pull } = await pulled('made-plain');
    for (const type of ['Immunization', 'Goal']) {
      const [first, second, ...more] = requests.filter((r) => typeOf(r.target) === type).map((r) => ({ status: r.status, at: Date.parse(r.at) }));
      assert.deepEqual([first.status >= 429, second.status, more.length], [true, 200, 0], type);
      assert.ok(second.at - first.at >= 1000, `${type}: ${second.at - first.at} ms`);
    }
    assert.equal(pull.status, 'complete');
    assert.equal((await pulled('made-torn')).pull.status, 'partial', 'a page that is gone is not a type that is not there');
    const payer = await pulled('made-payer');
    assert.deepEqual(payer.requests.filter((r) => /_include=ExplanationOfBenefit(:|%3A)\*/.test(r.target)).map((r) => [r.status, r.target.includes('startIndex')]), [[200, false], [200, true]]);
    assert.deepEqual(payer.requests.filter((r) => r.target.includes('$everything')).map((r) => r.status), [200], JSON.stringify(payer.requests));
    assert.ok(payer.records.some((raw) => key(raw) === 'Condition/only-there'));
    assert.ok((await pulled('made-capable')).requests.every((r) => !r.target.includes('$everything')));
    if (!names.includes('epic')) return;
    const epic = await pulled('epic');
    assert.deepEqual(epic.requests.filter((r) => /^\/(RelatedPerson|EpisodeOfCare)\?/.test(r.target)), []);
    assert.equal(epic.pull.status, 'complete', 'nothing of it could have been had in another way');
  });
}
