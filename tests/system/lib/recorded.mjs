// SPDX-License-Identifier: Apache-2.0
// Recordings (one HTTP exchange a line): made ones for the sandbox hospital to play, and reading any of them as the sandbox must.

import { elements, members } from './rawjson.mjs';

// --- made ones ---

const B = 'https://fhir.made.example/FHIR/r4';
const FHIR = { 'content-type': 'application/fhir+json; charset=utf-8', 'content-length': '1', 'content-encoding': 'gzip', connection: 'close' };

const exchange = (target, status, body, { headers = FHIR, base = B, ...rest } = {}) => JSON.stringify({ method: 'GET', url: `${base}${target}`, accept: null, status, headers, ...(body === undefined ? {} : { body }), ...rest });
const search = (type, more = '') => `/${type}?_count=50${more}&patient=made-1`;
const entry = (resource, mode = 'match') => `{"fullUrl":"${B}/${JSON.parse(resource).resourceType}/${JSON.parse(resource).id}","resource":${resource},"search":{"mode":"${mode}"}}`;
const bundle = (resources, { next, outcome, total } = {}) =>
  `{"resourceType":"Bundle","type":"searchset",${total === undefined ? '' : `"total":${total},`}"link":[{"relation":"self","url":"${B}"}${next ? `,{"relation":"next","url":"${next}"}` : ''}],"entry":[${[...resources.map((r) => entry(r)), ...(outcome ? [`{"resource":${outcome},"search":{"mode":"outcome"}}`] : [])].join(',')}]}`;
const issue = (severity, code, text) => `{"resourceType":"OperationOutcome","issue":[{"severity":"${severity}","code":"${code}","details":{"text":"${text}"}}]}`;
const subject = '"subject":{"reference":"Patient/made-1"}';
const observation = (id, value) => `{"resourceType":"Observation","id":"${id}","status":"final","valueQuantity":{"value":${value}},${subject},"note":[{"text":"zw\\u00f6lf \\/ ${value}"}]}`;
const range = (prefix, from, to) => Array.from({ length: to - from + 1 }, (_, i) => observation(`${prefix}-${from + i}`, `${from + i}.10`));
const PAGE = '<!DOCTYPE html><html><head><title>HTTP Status 401</title></head><body>No.</body></html>';
const html = { headers: { 'content-type': 'text/html;charset=utf-8' } };

const patient = '{"resourceType":"Patient","id":"made-1","name":[{"family":"Tape","given":["Magna"]}],"birthDate":"1971-03-04","gender":"female"}';
const document = (id, type, extra = '') => `{"resourceType":"DocumentReference","id":"dr-${id}","status":"current",${subject},"content":[{"attachment":{"contentType":"${type}","url":"${B}/Binary/${id}"${extra}}}]}`;

// Without /metadata: everything of the table is asked. Statuses, refusals, pages of three kinds, bodies of three kinds.
function plain() {
  const medication = '{"resourceType":"Medication","id":"med-1","code":{"text":"Aspirin"}}';
  const orders = ['med-1', 'med-2'].map((id) => `{"resourceType":"MedicationRequest","id":"mr-${id}","status":"active","intent":"order",${subject},"medicationReference":{"reference":"Medication/${id}"}}`);
  const slashed = (text) => text.replaceAll('/', '\\/');
  return [
    exchange('/Patient/made-1', 200, patient, { headers: { ...FHIR, etag: 'W/"3"', 'x-made': '1' } }),
    exchange(search('Observation'), 400, issue('fatal', 'required', 'category or code is required')),
    exchange(search('Observation', '&category=laboratory'), 200, slashed(bundle(range('lab', 1, 50), { next: `${B}/Observation?session=AbC%2F1&page=2` }))),
    exchange('/Observation?page=2&session=AbC%2F1', 200, bundle(range('lab', 50, 99), { next: `${new URL(B).pathname}?_getpages=x-y&n=3` })),
    exchange('?_getpages=x-y&n=3', 200, bundle(range('lab', 100, 120))),
    exchange(search('Observation', '&category=vital-signs'), 200, bundle(range('vital', 1, 3), { outcome: issue('warning', 'suppressed', 'There may be more.'), total: 3 })),
    exchange(search('Observation', '&category=survey'), 400, issue('fatal', 'value', 'no such category')),
    exchange(search('Condition'), 403, '', { headers: { 'www-authenticate': 'Bearer error="insufficient_scope"' } }),
    exchange(search('Encounter'), 401, PAGE, html),
    exchange(search('Procedure'), 404, PAGE, html),
    exchange(search('Immunization'), 429, issue('error', 'throttled', 'slower'), { headers: { ...FHIR, 'retry-after': '1' } }),
    exchange(search('Immunization'), 200, bundle([`{"resourceType":"Immunization","id":"im-1","status":"completed","patient":{"reference":"Patient/made-1"}}`])),
    exchange(search('Goal'), 503, '', { headers: { 'retry-after': '1' } }),
    exchange(search('Goal'), 200, bundle([`{"resourceType":"Goal","id":"goal-1","lifecycleStatus":"active",${subject}}`])),
    exchange(search('AllergyIntolerance'), 200, undefined, { body_base64: Buffer.from(bundle(['{"resourceType":"AllergyIntolerance","id":"ai-1","patient":{"reference":"Patient/made-1"}}'])).toString('base64') }),
    exchange(search('DiagnosticReport'), 200, bundle([], { total: 0, outcome: issue('information', 'informational', 'none found') })),
    exchange(search('MedicationRequest'), 200, bundle(orders)),
    exchange('/Medication/med-1', 200, medication),
    exchange('/Medication/med-2', 404, issue('error', 'not-found', 'not here')),
    exchange(search('DocumentReference'), 200, bundle([document('raw', 'application/pdf'), document('json', 'text/plain'), document('closed', 'text/plain')])),
    exchange('/Binary/raw', 200, undefined, { headers: { 'content-type': 'application/pdf' }, body_base64: Buffer.from(`%PDF-1.4 ${B}/ is not a link here\n%%EOF`).toString('base64') }),
    exchange('/Binary/json', 200, `{"resourceType":"Binary","id":"json","contentType":"text/plain","data":"${Buffer.from('plain words').toString('base64')}"}`),
    exchange('/Binary/closed', 403, issue('fatal', 'forbidden', 'not for this app')),
  ].join('\n');
}

// With /metadata, as JSON that is no text; another base, of the host alone.
function capable() {
  const base = 'https://capable.made.example';
  const resource = ['Patient', 'Device'].map((type) => ({ type, interaction: [{ code: 'read' }, { code: 'search-type' }], searchParam: [{ name: 'patient', type: 'reference' }] }));
  return [
    exchange('/metadata', 200, { resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: '4.0.1', format: ['json'], rest: [{ mode: 'server', resource }] }, { base }),
    exchange('/Patient/cap-1', 200, JSON.parse(patient.replaceAll('made-1', 'cap-1')), { base }),
    exchange('/Device?patient=cap-1', 200, `{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Device","id":"dev-1","patient":{"reference":"${base}/Patient/cap-1"}}}]}`, { base }),
  ].join('\n');
}

// A payer as its host's profile knows it: $everything, claims with what they name, pages by startIndex whose links are plain http.
function payer() {
  const base = 'https://made.humana.com/api/fhir';
  const resource = [
    { type: 'Patient', interaction: [{ code: 'read' }], operation: [{ name: 'everything', definition: 'x' }] },
    { type: 'Coverage', interaction: [{ code: 'read' }, { code: 'search-type' }], searchParam: [{ name: 'patient', type: 'reference' }] },
    { type: 'ExplanationOfBenefit', interaction: [{ code: 'read' }, { code: 'search-type' }], searchInclude: ['ExplanationOfBenefit:*'], searchParam: [{ name: 'patient', type: 'reference' }] },
  ];
  const claim = (n) => `{"resourceType":"ExplanationOfBenefit","id":"eob--${n}","patient":{"reference":"Patient/-pay.1"},"provider":{"reference":"Practitioner/doc-1"},"total":[{"amount":{"value":${n}.50,"currency":"USD"}}]}`;
  const set = (resources, next) => `{"resourceType":"Bundle","type":"searchset"${next ? `,"link":[{"relation":"next","url":"${next}"}]` : ''},"entry":[${resources.map(([r, mode = 'match']) => `{"resource":${r},"search":{"mode":"${mode}"}}`).join(',')}]}`;
  const target = '/ExplanationOfBenefit?patient=-pay.1&_include=ExplanationOfBenefit%3A*&_count=50';
  return [
    exchange('/metadata', 200, JSON.stringify({ resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: '4.0.1', rest: [{ mode: 'server', resource }] }), { base }),
    exchange('/Patient/-pay.1', 200, patient.replaceAll('made-1', '-pay.1'), { base }),
    exchange('/Patient/-pay.1/$everything?_count=50', 200, set([['{"resourceType":"Condition","id":"only-there","subject":{"reference":"Patient/-pay.1"}}']]), { base }),
    exchange('/Coverage?patient=-pay.1', 200, '{"resourceType":"Bundle","type":"searchset","total":0}', { base }),
    exchange(target, 200, set([[claim(1)], ['{"resourceType":"Practitioner","id":"doc-1","name":[{"family":"Payne"}]}', 'include']], `${base.replace('https', 'http')}${target}&startIndex=50`), { base }),
    exchange(`${target}&startIndex=50`, 200, set([[claim(2)]]), { base }),
  ].join('\n');
}

// 401 and a page for single types, among others that are answered: what a gateway says of a type that this app has not.
function walled() {
  const base = 'https://walled.made.example/r4';
  const asked = ['Coverage', 'AllergyIntolerance', 'Encounter', 'Procedure', 'CarePlan', 'Goal', 'Device'];
  const resource = ['Patient', ...asked].map((type) => ({ type, interaction: [{ code: 'read' }, { code: 'search-type' }], searchParam: [{ name: 'patient', type: 'reference' }] }));
  return [
    exchange('/metadata', 200, { resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: '4.0.1', rest: [{ mode: 'server', resource }] }, { base }),
    exchange('/Patient/wall-1', 200, patient.replaceAll('made-1', 'wall-1'), { base }),
    ...asked.map((type, i) => (i % 2 === 0 ? exchange(`/${type}?patient=wall-1`, 401, PAGE, { base, ...html })
      : exchange(`/${type}?patient=wall-1`, 200, `{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"${type}","id":"${type}-1"}}]}`, { base }))),
  ].join('\n');
}

// A next link that leads nowhere.
function torn() {
  const base = 'https://torn.made.example/r4';
  const resource = ['Patient', 'Goal'].map((type) => ({ type, interaction: [{ code: 'read' }, { code: 'search-type' }], searchParam: [{ name: 'patient', type: 'reference' }] }));
  const goals = ['g-1', 'g-2'].map((id) => `{"resource":{"resourceType":"Goal","id":"${id}","subject":{"reference":"Patient/torn-1"}}}`);
  return [
    exchange('/metadata', 200, { resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: '4.0.1', rest: [{ mode: 'server', resource }] }, { base }),
    exchange('/Patient/torn-1', 200, patient.replaceAll('made-1', 'torn-1'), { base }),
    exchange('/Goal?patient=torn-1', 200, `{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"${base}/Goal?page=2"}],"entry":[${goals}]}`, { base }),
    exchange('/Goal?page=2', 404, issue('error', 'not-found', 'no such page'), { base }),
  ].join('\n');
}

// The patients of these do not let the app come back: there is no refresh token.
export const ONCE = ['made-walled'];
export const made = { 'made-torn': torn, 'made-walled': walled, 'made-payer': payer, 'made-plain': plain, 'made-capable': capable };

// --- reading one ---

const sorted = (query, loose) => [...new URLSearchParams(query)].filter(([name]) => !loose || name !== '_count').map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).sort().join('&');
const keyOf = (target, loose) => {
  const [path, query = ''] = target.split(/\?(.*)/s);
  return `${decodeURIComponent(path)}?${sorted(query, loose)}`;
};

// `base`: where the sandbox plays it. Answers by target, with their bodies as they are then served.
export class Recording {
  constructor(text, base) {
    const rows = text.split('\n').filter((line) => line.trim()).map((line) => ({ ...JSON.parse(line), raw: members(line).get('body') }));
    this.base = rows.map(({ url }) => /^(.*?)\/(?:Patient\/[^/?]+|metadata|[A-Z][A-Za-z]+\?.*patient=.*)$/.exec(url)?.[1]).find(Boolean);
    const literal = (s) => s.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
    const slashed = (s) => s.replaceAll('/', '\\/');
    const [path, here] = [new URL(this.base).pathname.replace(/\/$/, ''), new URL(base).pathname];
    const rooted = (s) => (path === '' ? s.replaceAll(/("url": ?")(?=\/(?!\/))/g, `$1${here}`)
      : s.replaceAll(new RegExp(`"${literal(path)}(?=[/?"])`, 'g'), `"${here}`).replaceAll(new RegExp(`"${literal(slashed(path))}(?=\\\\/|[?"])`, 'g'), `"${slashed(here)}`));
    const put = (s) => rooted(s.replaceAll(new RegExp(`https?${this.base.replace(/^https?/, '').replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?=[/?#"'\\\\ \\s<>,;|&]|$)`, 'g'), base)
      .replaceAll(this.base.replaceAll('/', '\\/'), base.replaceAll('/', '\\/')));
    this.exact = new Map();
    this.loose = new Map();
    for (const row of rows.filter((r) => r.url.startsWith(this.base))) {
      const target = row.url.slice(this.base.length);
      const bytes = typeof row.body_base64 !== 'string' ? Buffer.from(typeof row.body === 'string' ? row.body : row.body ? row.raw : '') : Buffer.from(row.body_base64, 'base64');
      const json = /^\s*[{[]/.test(bytes.toString('latin1'));
      const answer = { status: row.status, headers: row.headers, text: json ? put(bytes.toString()) : bytes.toString('latin1'), json };
      for (const [map, key] of [[this.exact, keyOf(target, false)], [this.loose, keyOf(target, true)]]) map.set(key, [...(map.get(key) ?? []), answer]);
    }
  }

  // All answers to what was asked, in order; undefined when nothing was recorded.
  answers(target) {
    return this.exact.get(keyOf(target, false)) ?? this.loose.get(keyOf(target, true));
  }

  // The same question, however its parameters stand.
  static key = (target) => keyOf(target, false);
}

// The raw bytes of the resources in an answer: a Bundle's entries but outcomes, or the resource itself.
export function resourcesIn(text) {
  const whole = JSON.parse(text);
  if (whole.resourceType !== 'Bundle') return whole.resourceType === 'OperationOutcome' ? [] : [text.trim()];
  return elements(members(text).get('entry') ?? '[]').map(members)
    .filter((e) => e.has('resource') && JSON.parse(e.get('search') ?? '{}').mode !== 'outcome')
    .map((e) => e.get('resource')).filter((r) => JSON.parse(r).resourceType !== 'OperationOutcome');
}
