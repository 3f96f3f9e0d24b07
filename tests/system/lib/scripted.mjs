// SPDX-License-Identifier: Apache-2.0
// A hospital that follows a script: known resources, and for each type a plot of faults drawn from a seed. It counts what it is asked and what it gave,
// so that the truth about a pull is told by the hospital and not by Chartway.

import http from 'node:http';

// Types that the plan asks by one search each.
export const TYPES = ['AllergyIntolerance', 'Immunization', 'Encounter', 'Procedure', 'Goal', 'Device', 'FamilyMemberHistory', 'MedicationDispense',
  'QuestionnaireResponse', 'RelatedPerson', 'ServiceRequest', 'Flag', 'Consent', 'ImagingStudy'];

function random(seed) {
  let a = (seed * 2654435761) >>> 0;
  const next = () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { below: (n) => Math.floor(next() * n), pick: (list) => list[Math.floor(next() * list.length)], bytes: (n) => Array.from({ length: n }, () => 'abcdefghijklmnopqrstuvwxyz é0123456789'[Math.floor(next() * 38)]).join('') };
}

const outcome = (code, text) => JSON.stringify({ resourceType: 'OperationOutcome', issue: [{ severity: 'error', code, diagnostics: text }] });

// What each plot does to request number `n` (from 0) of its type for page `page`: an answer, or undefined for the page as it is. `end` is what the
// receipt must say of the type where it does not end well, `keeps` how many of its pages can be had.
const PLOTS = {
  plain: {},
  refused: { answer: () => [403, outcome('forbidden', 'The app may not see this.')], end: { code: 'no_access', http_status: 403 }, keeps: 0, fine: true },
  absent: { answer: () => [404, outcome('not-found', 'Unknown resource type.')], end: { code: 'not_found', http_status: 404 }, keeps: 0, fine: true },
  throttled: { answer: (s, page, n) => (n < s.times ? [429, outcome('throttled', 'Slow down.'), { 'retry-after': s.how === 'date' ? new Date(Date.now() + 1500).toUTCString() : '1' }] : undefined) },
  busy: { answer: (s, page) => (page === s.at && s.once() ? [503, '', {}] : undefined) },
  cut: { answer: (s, page) => (page === s.at && s.once() ? 'cut' : undefined) },
  html: { answer: () => [200, '<!DOCTYPE html><html><body>Sign in</body></html>', { 'content-type': 'text/html' }], end: { code: 'answer_unreadable', http_status: 200 }, keeps: 0 },
  loop: { loops: true, end: { code: 'paging_loop' } },
  empty: { gap: true },
  twice: { repeats: true },
  expired: { answer: (s, page) => (page > 0 && s.once() ? [410, outcome('expired', 'The search has expired.')] : undefined) },
  expires: { answer: (s, page) => (page > 0 ? [410, outcome('expired', 'The search has expired.')] : undefined), end: { code: 'paging_expired', http_status: 410 }, keeps: 1, restarts: 3 },
  stray: { strays: true, end: { code: 'next_off_origin' }, keeps: 1 },
  foreign: { foreign: true },
};

class Type {
  constructor(name, dice, patient) {
    this.name = name;
    this.plot = dice.pick(Object.keys(PLOTS));
    this.rule = PLOTS[this.plot];
    const many = this.rule.restarts || this.rule.strays || this.rule.repeats || this.plot === 'expired';
    const pages = (many ? 2 : 1) + dice.below(3);
    this.told = dice.below(2) === 1; // Bundle.total
    this.times = 1 + dice.below(2);
    this.how = dice.pick(['seconds', 'date']);
    this.at = dice.below(pages);
    this.requests = 0;
    this.given = 0; // pages that were answered well
    this.entries = 0;
    this.used = false;
    let number = 0;
    this.pages = Array.from({ length: pages }, () => Array.from({ length: 1 + dice.below(4) }, () => this.resource(number++, patient, dice)));
    if (this.rule.repeats) this.pages[1].push(...this.pages[0]);
    if (this.rule.gap) this.pages.splice(1, 0, []);
    if (this.rule.foreign) this.pages[0].push(this.resource(number++, 'somebody-else', dice));
  }

  once() {
    if (this.used) return false;
    this.used = true;
    return true;
  }

  resource(number, patient, dice) {
    const whose = ['AllergyIntolerance', 'Immunization', 'Device', 'FamilyMemberHistory', 'RelatedPerson', 'Consent'].includes(this.name) ? 'patient' : 'subject';
    return { resourceType: this.name, id: `${this.name.slice(0, 3).toLowerCase()}-${number}.x`, meta: { versionId: '1', lastUpdated: `2026-0${1 + dice.below(9)}-11T0${dice.below(10)}:00:00.000Z` },
      [whose]: { reference: `Patient/${patient}` }, text: { status: 'generated', div: `<div xmlns="http://www.w3.org/1999/xhtml">${dice.bytes(20 + dice.below(200))}</div>` }, extension: [{ url: 'urn:n', valueDecimal: 'DECIMAL' }] };
  }
}

// The text as the hospital sends it, with a decimal that no JSON library of ours writes again in the same way.
export const textOf = (resource) => JSON.stringify(resource).replace('"DECIMAL"', '98.60');

class Script {
  constructor(seed) {
    const dice = random(seed + 1);
    this.patient = `p-${seed}`;
    const names = [...TYPES];
    this.types = Array.from({ length: 6 + dice.below(3) }, () => new Type(names.splice(dice.below(names.length), 1)[0], dice, this.patient));
    this.tokens = 0;
  }

  // What the receipt must hold of each type, and what must be stored: by the script's rules and the hospital's own counts.
  truth() {
    const types = {};
    const stored = new Map();
    for (const type of this.types) {
      const whole = type.rule.keeps === undefined;
      const had = type.pages.slice(0, whole ? undefined : type.rule.keeps);
      const ours = had.flat().filter((r) => !JSON.stringify(r).includes('somebody-else'));
      for (const resource of ours) stored.set(`${type.name}/${resource.id}`, textOf(resource));
      const unique = new Set(ours.map((r) => r.id)).size;
      types[type.name] = { requests: type.requests, pages: type.given, received: type.entries, stored: unique, plot: type.plot,
        problem: type.rule.end && { status: 'failed', ...type.rule.end, count: 1 } };
    }
    const bad = this.types.some((type) => type.rule.end && !type.rule.fine);
    const foreign = this.types.filter((t) => t.plot === 'foreign').map((t) => ({ type: t.name, reason: 'wrong_patient', count: 1 }));
    return { types, stored, status: bad ? 'partial' : 'complete', left_out: foreign };
  }
}

export class ScriptedHospitals {
  constructor(port, count) {
    this.port = port;
    this.scripts = Array.from({ length: count }, (_, seed) => new Script(seed));
  }

  address(seed) {
    return `127.0.${40 + Math.floor(seed / 250)}.${1 + (seed % 250)}`;
  }

  base(seed) {
    return `http://${this.address(seed)}:${this.port}/fhir`;
  }

  async start() {
    this.servers = await Promise.all(this.scripts.map((script, seed) => new Promise((resolve, reject) => {
      const server = http.createServer((request, response) => this.#hear(seed, script, request, response));
      server.once('error', reject);
      server.listen(this.port, this.address(seed), () => resolve(server));
    })));
  }

  stop() {
    for (const server of this.servers) {
      server.closeAllConnections();
      server.close();
    }
  }

  #hear(seed, script, request, response) {
    request.resume();
    request.on('end', () => {
      const url = new URL(request.url, this.base(seed));
      const room = url.pathname.replace('/fhir/', '');
      const send = (status, body, headers = {}) => {
        response.writeHead(status, { 'content-type': 'application/fhir+json', ...headers });
        response.end(body);
      };
      const origin = `http://${this.address(seed)}:${this.port}`;
      if (url.pathname === '/authorize') {
        const back = new URL(url.searchParams.get('redirect_uri'));
        back.searchParams.set('code', `code-${seed}`);
        back.searchParams.set('state', url.searchParams.get('state'));
        send(302, '', { location: back.href });
      } else if (url.pathname === '/token') {
        script.tokens++;
        send(200, JSON.stringify({ access_token: `access-${seed}-${script.tokens}-0123456789`, refresh_token: `refresh-${seed}-${script.tokens}`, token_type: 'Bearer', expires_in: 3600, scope: 'launch/patient offline_access patient/*.rs', patient: script.patient }));
      } else if (room === '.well-known/smart-configuration') {
        send(200, JSON.stringify({ authorization_endpoint: `${origin}/authorize`, token_endpoint: `${origin}/token`, grant_types_supported: ['authorization_code'], code_challenge_methods_supported: ['S256'],
          scopes_supported: ['launch/patient', 'offline_access', 'patient/*.rs'], capabilities: ['launch-standalone', 'client-public', 'context-standalone-patient', 'permission-patient', 'permission-v2', 'permission-offline'] }));
      } else if (room === 'metadata') {
        send(200, JSON.stringify({ resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: '4.0.1', format: ['json'], date: '2026-01-01', rest: [{ mode: 'server',
          resource: [{ type: 'Patient', interaction: [{ code: 'read' }] }, ...script.types.map(({ name }) => ({ type: name, interaction: [{ code: 'search-type' }], searchParam: [{ name: 'patient', type: 'reference' }] }))] }] }));
      } else if (room === `Patient/${script.patient}`) {
        send(200, `{"resourceType":"Patient","id":"${script.patient}"}`);
      } else {
        const type = script.types.find(({ name }) => name === room);
        if (type) this.#search(seed, type, url, send, response);
        else send(404, outcome('not-found', 'Nothing here.'));
      }
    });
  }

  #search(seed, type, url, send, response) {
    const page = Number(url.searchParams.get('page') ?? 0);
    const entries = type.pages[page] ?? [];
    const answer = type.rule.answer?.(type, page, type.requests);
    type.requests++;
    const link = (to) => [{ relation: 'next', url: to }];
    const here = `${this.base(seed)}/${type.name}?patient=${url.searchParams.get('patient')}`;
    let next = page + 1 < type.pages.length ? link(`${here}&page=${page + 1}`) : undefined;
    if (type.rule.strays && page === 0) next = link(`https://records.elsewhere.example/pages/1`);
    if (type.rule.loops && !next) next = link(`${here}&page=0`);
    const total = new Set(type.pages.flat().map((r) => r.id)).size;
    const body = `{"resourceType":"Bundle","type":"searchset"${type.told ? `,"total":${total}` : ''}${next ? `,"link":${JSON.stringify(next)}` : ''}${
      entries.length ? `,"entry":[${entries.map((r) => `{"fullUrl":"urn:x","resource":${textOf(r)},"search":{"mode":"match"}}`).join(',')}]` : ''}}`;
    if (answer === 'cut') {
      response.writeHead(200, { 'content-type': 'application/fhir+json', 'content-length': Buffer.byteLength(body) });
      response.write(body.slice(0, body.length / 2), () => response.destroy());
      return;
    }
    if (answer) {
      send(...answer);
      return;
    }
    type.given++;
    type.entries += entries.filter((r) => !JSON.stringify(r).includes('somebody-else')).length;
    send(200, body);
  }
}
