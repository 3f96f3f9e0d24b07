// SPDX-License-Identifier: Apache-2.0
// A small FHIR R4 server for the tests: it keeps resources as the bytes that it was given, searches by patient and type,
// pages, and answers 401 to a token that is not good. Several bases on one port, each with a name: /NAME/fhir.

import http from 'node:http';

export class FhirServer {
  constructor({ port, pageSize = 20 }) {
    this.port = port;
    this.pageSize = pageSize;
    this.bases = new Map();
    this.requests = [];
  }

  base(name) {
    return `http://127.0.0.1:${this.port}/${name}/fhir`;
  }

  // server: an AuthorizationServer (or undefined: set later). resources: raw JSON texts. delayMs: before each search page.
  add(name, { server, resources, delayMs = 0 }) {
    const byType = new Map();
    for (const raw of resources) {
      const { resourceType } = JSON.parse(raw);
      if (!byType.has(resourceType)) byType.set(resourceType, []);
      byType.get(resourceType).push(raw);
    }
    this.bases.set(name, { server, byType, delayMs });
    return this.bases.get(name);
  }

  start() {
    this.http = http.createServer((request, response) => {
      this.#answer(request, response).catch((error) => {
        response.writeHead(500);
        response.end(String(error));
      });
    });
    return new Promise((resolve, reject) => {
      this.http.once('error', reject);
      this.http.listen(this.port, '127.0.0.1', resolve);
    });
  }

  stop() {
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(resolve));
  }

  async #answer(request, response) {
    const url = new URL(request.url, `http://127.0.0.1:${this.port}`);
    const [, name, , ...rest] = url.pathname.split('/');
    const base = this.bases.get(name);
    const send = (status, body, headers = {}) => {
      response.writeHead(status, { 'content-type': 'application/fhir+json', ...headers });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    };
    if (!base) return send(404, { resourceType: 'OperationOutcome' });
    const route = rest.join('/');
    this.requests.push(`${name} ${route}${url.search}`);
    if (route === '.well-known/smart-configuration') return send(200, this.#smart(base), { 'content-type': 'application/json' });
    if (route === 'metadata') return send(200, this.#capability(base));

    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const who = token && (await base.server.whose(token));
    if (!who) return send(401, { resourceType: 'OperationOutcome' }, { 'www-authenticate': 'Bearer error="invalid_token"' });
    if (rest.length === 2) {
      const raw = (base.byType.get(rest[0]) ?? []).find((text) => JSON.parse(text).id === rest[1]);
      return raw ? send(200, raw) : send(404, { resourceType: 'OperationOutcome' });
    }
    if (base.delayMs) await new Promise((resolve) => setTimeout(resolve, base.delayMs));
    return send(200, this.#page(name, base, rest[0], url));
  }

  #smart({ server }) {
    return {
      issuer: server.issuer,
      authorization_endpoint: `${server.issuer}/auth`,
      token_endpoint: `${server.issuer}/token`,
      revocation_endpoint: `${server.issuer}/token/revocation`,
      jwks_uri: `${server.issuer}/jwks`,
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'private_key_jwt'],
      token_endpoint_auth_signing_alg_values_supported: ['RS384', 'ES384'],
      grant_types_supported: ['authorization_code', 'refresh_token'],
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      scopes_supported: ['openid', 'offline_access', 'fhirUser', 'launch/patient', 'patient/*.read'],
      capabilities: ['launch-standalone', 'client-public', 'client-confidential-symmetric', 'client-confidential-asymmetric',
        'context-standalone-patient', 'permission-offline', 'permission-patient', 'sso-openid-connect'],
    };
  }

  #capability({ byType }) {
    return {
      resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: '4.0.1', format: ['json'], date: '2026-01-01',
      rest: [{
        mode: 'server',
        resource: [...byType.keys()].map((type) => ({
          type,
          interaction: [{ code: 'read' }, ...(type === 'Patient' ? [] : [{ code: 'search-type' }])],
          searchParam: [{ name: 'patient', type: 'reference' }, { name: 'category', type: 'token' }],
        })),
      }],
    };
  }

  #page(name, base, type, url) {
    const category = url.searchParams.get('category')?.split(',').map((c) => c.split('|').at(-1));
    const all = (base.byType.get(type) ?? []).filter((raw) => {
      if (!category) return true;
      const codes = [JSON.parse(raw).category ?? []].flat().flatMap((c) => c.coding ?? []).map((c) => c.code);
      return codes.some((code) => category.includes(code));
    });
    const from = Number(url.searchParams.get('_from') ?? 0);
    const size = Math.min(this.pageSize, Number(url.searchParams.get('_count') ?? this.pageSize) || this.pageSize);
    const next = new URL(`${this.base(name)}/${type}`);
    for (const [key, value] of url.searchParams) next.searchParams.append(key, value);
    next.searchParams.set('_from', String(from + size));
    const links = [`{"relation":"self","url":${JSON.stringify(url.href)}}`];
    if (from + size < all.length) links.push(`{"relation":"next","url":${JSON.stringify(next.href)}}`);
    const entries = all.slice(from, from + size).map((raw) => {
      const { id } = JSON.parse(raw);
      return `{"fullUrl":"${this.base(name)}/${type}/${id}","resource":${raw},"search":{"mode":"match"}}`;
    });
    return `{"resourceType":"Bundle","type":"searchset","total":${all.length},"link":[${links}],"entry":[${entries}]}`;
  }
}

// A record with what JSON tools like to change: trailing zeros, exponents, big integers, escapes, blanks, letters of all kinds.
export function awkwardRecord(patient, { observations = 75 } = {}) {
  const out = [
    `{"resourceType":"Patient","id":"${patient}","identifier":[{"system":"urn:example:mrn","value":"0042"}],` +
      `"name":[{"family":"Quistgaard-Ødegård","given":["Runa\\u00efs"]}],"birthDate":"1980-02-29","gender":"female"}`,
  ];
  const values = ['1.10', '98.60', '1e2', '-0.0', '0.000000100', '12345678901234567890', '6.0220E+23', '5'];
  const kinds = ['vital-signs', 'laboratory', 'social-history', 'survey'];
  for (let i = 0; i < observations; i++) {
    out.push(
      `{ "resourceType" : "Observation",\n  "id":"obs-${i}", "status":"final",` +
        `"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"${kinds[i % kinds.length]}"}]}],` +
        `"code":{"text":"Messwert \\/ 測定 \\ud83e\\ude7a ${i}"},"subject":{"reference":"Patient/${patient}"},` +
        `"valueQuantity":{"value":${values[i % values.length]},"unit":"g\\/dL"}}`,
    );
  }
  for (let i = 0; i < 25; i++) {
    out.push(`{"resourceType":"Condition","id":"cond-${i}","category":[{"coding":[{"code":"problem-list-item"}]}],"subject":{"reference":"Patient/${patient}"},"code":{"text":"Zustand ${i}"}}`);
  }
  for (const type of ['Immunization', 'AllergyIntolerance', 'Procedure']) {
    for (let i = 0; i < 3; i++) {
      const who = type === 'AllergyIntolerance' || type === 'Immunization' ? 'patient' : 'subject';
      out.push(`{"resourceType":"${type}","id":"${type.toLowerCase()}-${i}","${who}":{"reference":"Patient/${patient}"},"note":[{"text":"\\u0041 \\" \\\\ /"}]}`);
    }
  }
  return out;
}
