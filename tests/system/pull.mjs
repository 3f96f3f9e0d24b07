// SPDX-License-Identifier: Apache-2.0
// What is pulled is what is there: by type, byte for byte, through faults, and through twenty kills of the scheduler.

import assert from 'node:assert/strict';
import { test } from './lib/runner.mjs';
import { until } from './lib/stack.mjs';
import { allRecords, Journey, operator, pullEnd } from './lib/patient.mjs';

const key = (raw) => {
  const { resourceType, id } = JSON.parse(raw);
  return `${resourceType}/${id}`;
};

// Types that a search by patient brings, so that all of a chart must be there; the rest comes by reference.
const SEARCHED = ['Patient', 'RelatedPerson', 'Coverage', 'AllergyIntolerance', 'Condition', 'Encounter', 'Observation', 'DiagnosticReport', 'ServiceRequest',
  'MedicationRequest', 'MedicationDispense', 'Immunization', 'Procedure', 'CarePlan', 'CareTeam', 'Goal', 'Device', 'DocumentReference',
  'FamilyMemberHistory', 'QuestionnaireResponse', 'ExplanationOfBenefit'];

async function personOf(stack, name) {
  const { patients } = await operator(stack, 'GET', '/census');
  const found = patients.find((p) => p.name.includes(name));
  assert.ok(found, `${name} is in ${patients.map((p) => p.name)}`);
  return found;
}

// The hospital's own bytes of one patient against what the API serves.
async function compare(stack, patientId, name) {
  const person = await personOf(stack, name);
  const chart = new Map((await operator(stack, 'GET', `/census?patient=${encodeURIComponent(person.id)}`)).map((raw) => [key(raw), raw]));
  const got = await allRecords(stack, patientId);
  const seen = new Set();
  for (const raw of got) {
    const k = key(raw);
    assert.ok(!seen.has(k), `${k} twice`);
    seen.add(k);
    assert.ok(chart.has(k), `${k} is not the hospital's`);
    if (!k.startsWith('Patient/')) assert.equal(raw, chart.get(k), k);
  }
  const missing = [...chart.keys()].filter((k) => !seen.has(k) && SEARCHED.includes(k.split('/')[0]));
  assert.deepEqual(missing, [], 'nothing that can be searched is missing');
  // What is referenced from what came, and is followed, came too.
  for (const type of ['Binary', 'Medication']) {
    const wanted = [...chart.keys()].filter((k) => k.startsWith(`${type}/`) && got.some((raw) => raw.includes(k)));
    assert.deepEqual(wanted.filter((k) => !seen.has(k)), [], `every ${type} that is named`);
  }
  return got.length;
}

async function connected(stack, name) {
  const journey = await Journey.begin(stack, { connection_id: stack.hospital });
  const back = await journey.connect(undefined, name);
  assert.equal(new URL(back.location).searchParams.get('success'), 'true', back.location);
  return journey;
}

export default function add(stack) {
  test('the big patient: 3,000 resources and more, byte for byte', async () => {
    const journey = await connected(stack, 'Walter Brandvold');
    const pull = await pullEnd(stack, journey.session.patient_id);
    assert.equal(pull.status, 'complete', JSON.stringify(pull));
    const count = await compare(stack, journey.session.patient_id, 'Walter Brandvold');
    assert.ok(count >= 3000, `${count}`);
    const types = (await stack.sql(`SELECT COUNT(DISTINCT resource_type) FROM record r JOIN patient p ON p.id = r.patient WHERE p.patient_id = '${journey.session.patient_id}'`))[0][0];
    assert.ok(Number(types) >= 15, types);
    assert.equal((await stack.sql(`SELECT COUNT(*) FROM event e JOIN patient p ON p.id = e.patient WHERE p.patient_id = '${journey.session.patient_id}' AND e.kind IN (3, 4)`))[0][0], '1', 'one terminal event');
  });

  test('records by type, since, backwards', async () => {
    const journey = await connected(stack, 'Zoë Núñez-Łukasik');
    await pullEnd(stack, journey.session.patient_id);
    await compare(stack, journey.session.patient_id, 'Zoë');
    const route = `/patients/${journey.session.patient_id}/records`;
    const some = (await stack.api('GET', `${route}?type=Observation,Condition&count=5`)).json;
    assert.ok(some.data.every((r) => ['Observation', 'Condition'].includes(r.resource.resourceType)));
    assert.equal(some.previous_cursor === null || typeof some.previous_cursor === 'string', true);
    // The check has 8 bits: one other filter in 256 passes by chance, three do not.
    const others = await Promise.all(['', 'type=Goal&', 'type=Patient,Encounter&'].map(async (filter) => (await stack.api('GET', `${route}?${filter}count=5&starting_after=${some.next_cursor}`)).status));
    assert.ok(others.includes(400) && others.every((status) => [200, 400].includes(status)), `a cursor belongs to its filter: ${others}`);
    const next = (await stack.api('GET', `${route}?type=Observation,Condition&count=5&starting_after=${some.next_cursor}`)).json;
    const back = (await stack.api('GET', `${route}?type=Observation,Condition&count=5&ending_before=${next.previous_cursor}`)).json;
    assert.deepEqual(back.data.map((r) => r.resource.id), some.data.map((r) => r.resource.id));
    assert.deepEqual((await stack.api('GET', `${route}?since=2999-01-01`)).json.data, []);
    assert.ok((await stack.api('GET', `${route}?since=2000-01-01`)).json.data.length > 0);
    assert.equal((await stack.api('GET', `${route}?type=Patient`)).json.data[0].resource.identifier.filter((i) => i.system === 'urn:chartway:patient-id').length, 1);
  });

  const faults = [
    ['Theo Rottle', 'complete'], // 429 with Retry-After
    ['Max Pirelli-Sands', 'complete'], // tokens of 20 seconds
    ['Dora Twice', 'complete'], // duplicates
    ['Lupe Endless', 'partial'], // a next without an end
    ['Ophelia Elsewhere', 'partial'], // next on another host
    ['雯 李', 'complete'], // ids of 88 characters
  ];
  for (const [name, status] of faults) {
    test(`through the faults of ${name}: ${status}`, async () => {
      const journey = await connected(stack, name);
      const pull = await pullEnd(stack, journey.session.patient_id, { ms: 200_000 });
      assert.equal(pull.status, status, `${JSON.stringify(pull)}\n${await stack.ctl('pull', 'status', '--patient', journey.session.patient_id, '--org', stack.org, '--tasks')}`);
      if (status === 'complete') await compare(stack, journey.session.patient_id, name);
    });
  }

  test('a hospital that mixes up its charts: nobody else is stored, and it is told', async () => {
    const person = await personOf(stack, 'Zoë');
    const codes = async (app) => (await stack.sql(`SELECT DISTINCT t.failure_code FROM pull_task t JOIN pull u ON u.id = t.pull JOIN patient p ON p.id = u.patient WHERE p.patient_id = '${app}' AND t.status = 3`)).flat();
    try {
      await operator(stack, 'POST', '/faults', { patient: person.id, type: 'Condition', point: 'search', fault: 'wrong_patient' });
      const journey = await connected(stack, 'Zoë Núñez-Łukasik');
      const app = journey.session.patient_id;
      const first = await pullEnd(stack, app);
      assert.equal(first.status, 'complete', 'what is another patient\'s is no loss');
      await compare(stack, app, 'Zoë');
      const told = await stack.sql(`SELECT s.resource_type, s.reason FROM pull_skip s JOIN pull u ON u.id = s.pull JOIN patient p ON p.id = u.patient WHERE p.patient_id = '${app}'`);
      assert.deepEqual(told, [['Condition', 'wrong_patient']]);
      await operator(stack, 'POST', '/faults', { patient: person.id, type: 'Patient', point: 'read', fault: 'wrong_patient' });
      await stack.ctl('pull', 'start', '--patient', app, '--org', stack.org);
      assert.equal((await pullEnd(stack, app, { count: 2 })).status, 'partial');
      assert.deepEqual(await codes(app), ['wrong_patient']);
      await compare(stack, app, 'Zoë');
    } finally {
      await operator(stack, 'DELETE', '/faults');
    }
  });

  test('real input: a transaction Bundle, NDJSON, and Synthea where it is', async () => {
    const { patients } = await operator(stack, 'GET', '/census');
    const loaded = patients.filter((p) => p.note === '' || !/\S/.test(p.note));
    const names = loaded.map((p) => p.name);
    for (const wanted of ['Berit Bundleson', 'Nadia Linewise']) assert.ok(names.includes(wanted), `${wanted} in ${names}`);
    const synthea = loaded.filter((p) => !['Berit Bundleson', 'Nadia Linewise'].includes(p.name)).slice(0, 3);
    for (const person of [...loaded.filter((p) => ['Berit Bundleson', 'Nadia Linewise'].includes(p.name)), ...synthea]) {
      const journey = await connected(stack, person.name);
      const pull = await pullEnd(stack, journey.session.patient_id);
      assert.equal(pull.status, 'complete', JSON.stringify(pull));
      await compare(stack, journey.session.patient_id, person.name);
    }
    console.log(`  loaded: ${loaded.length} patients, ${synthea.length} of Synthea pulled`);
  });

  test('kill -9 of the scheduler, twenty times at random moments', async () => {
    const journey = await connected(stack, 'Walter Brandvold');
    let kills = 0;
    for (; kills < 20; kills++) {
      const pid = await until('a scheduler', () => {
        const now = stack.pid('scheduler');
        process.kill(now, 0);
        return now;
      }, { every: 20 });
      const before = Number((await stack.sql('SELECT COALESCE(SUM(pages), 0) FROM pull_task'))[0][0]);
      const step = Math.floor(Math.random() * 3);
      await until('a few pages more, or the end', async () => {
        const [[pages, waiting]] = await stack.sql('SELECT COALESCE(SUM(pages), 0), (SELECT COUNT(*) FROM job) FROM pull_task');
        return Number(pages) >= before + step || waiting === '0';
      }, { every: 5 });
      process.kill(pid, 'SIGKILL');
      await until('its successor', () => stack.pid('scheduler') !== pid && process.kill(stack.pid('scheduler'), 0), { every: 20 });
    }
    const pull = await pullEnd(stack, journey.session.patient_id);
    assert.equal(pull.status, 'complete', JSON.stringify(pull));
    await compare(stack, journey.session.patient_id, 'Walter Brandvold');
    console.log(`  ${kills} kills, ${pull.requests} requests, ${pull.stored} stored`);
  });
}
