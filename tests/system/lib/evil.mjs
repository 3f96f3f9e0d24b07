// SPDX-License-Identifier: Apache-2.0
// A hospital that means harm: FHIR server and authorization server in one, each scene with answers of its own, and beside it a
// stranger on another host. Both write down all that they are asked, so that what must not arrive can be looked for.

import http from 'node:http';
import net from 'node:net';

export const HOSPITAL = '127.0.0.1';
export const STRANGER = '127.0.0.2';

const json = (value, status = 200, headers = {}) => ({ status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) });

export class EvilHospital {
  constructor({ port }) {
    this.port = port;
    this.scenes = new Map();
    this.requests = [];
  }

  base(name, host = HOSPITAL) {
    return `http://${host}:${this.port}/${name}/fhir`;
  }

  // discovery: members that replace the usual ones (undefined: left out), or a whole answer {status, headers, body}.
  // token: members of the token answer, or a function of the form and the scene. pages: path under the base -> answer, or a function.
  scene(name, { discovery = {}, token = {}, pages = {} } = {}) {
    const root = `http://${HOSPITAL}:${this.port}/${name}`;
    const scene = { name, root, base: this.base(name), discovery, token, pages, tokens: 0, authorize: undefined };
    this.scenes.set(name, scene);
    return scene;
  }

  async start() {
    this.servers = await Promise.all([HOSPITAL, STRANGER].map((host) => new Promise((resolve, reject) => {
      const server = http.createServer((request, response) => this.#hear(host, request, response));
      server.once('error', reject);
      server.listen(this.port, host, () => resolve(server));
    })));
  }

  stop() {
    return Promise.all(this.servers.map((server) => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    }));
  }

  // Requests that a host got, of one scene where it is named.
  seen(host, name) {
    return this.requests.filter((r) => r.host === host && (name === undefined || r.path.startsWith(`/${name}/`) || r.path === `/${name}`));
  }

  // Where a text stands in anything that a host was sent.
  leaks(host, text) {
    return this.requests.filter((r) => r.host === host && [r.path, r.body, JSON.stringify(r.headers)].some((part) => part.includes(text)));
  }

  #hear(host, request, response) {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const told = { host, method: request.method, path: request.url, headers: request.headers, body: Buffer.concat(parts).toString('latin1') };
      this.requests.push(told);
      const { status = 200, headers = {}, body = '' } = this.#answer(told);
      response.writeHead(status, headers);
      response.end(body);
    });
  }

  #answer({ host, path, body }) {
    if (host === STRANGER) return json({ resourceType: 'Bundle', type: 'searchset', entry: [] });
    const url = new URL(path, `http://${HOSPITAL}:${this.port}`);
    const [, name, room, ...rest] = url.pathname.split('/');
    const scene = this.scenes.get(name);
    if (!scene) return json({}, 404);
    if (room === 'auth') return this.#authorize(scene, url);
    if (room === 'token') return this.#token(scene, new URLSearchParams(body));
    const route = rest.join('/');
    const page = scene.pages[route] ?? scene.pages[`${route}${url.search}`];
    if (page !== undefined) return typeof page === 'function' ? page(url) : page;
    if (route === '.well-known/smart-configuration') return this.#discovery(scene);
    if (route === 'metadata') return json(this.#capability());
    if (rest.length > 1) return json({ resourceType: rest[0], id: rest[1] });
    return json({ resourceType: 'Bundle', type: 'searchset', total: 0, entry: [] });
  }

  #discovery({ root, discovery }) {
    if (discovery.status) return discovery;
    return json({
      issuer: root, authorization_endpoint: `${root}/auth`, token_endpoint: `${root}/token`, jwks_uri: `${root}/fhir/jwks`,
      grant_types_supported: ['authorization_code', 'refresh_token'], response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'], scopes_supported: ['openid', 'fhirUser', 'offline_access', 'launch/patient', 'patient/*.rs'],
      capabilities: ['launch-standalone', 'client-public', 'client-confidential-symmetric', 'context-standalone-patient', 'permission-patient', 'permission-v2', 'permission-offline', 'sso-openid-connect'],
      ...discovery,
    });
  }

  #capability() {
    const types = ['Patient', 'Observation', 'Condition', 'Encounter', 'Procedure', 'Immunization', 'DocumentReference', 'AllergyIntolerance', 'Goal'];
    return {
      resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: '4.0.1', format: ['json'], date: '2026-01-01',
      rest: [{ mode: 'server', resource: types.map((type) => ({ type, interaction: [{ code: 'read' }, { code: 'search-type' }], searchParam: [{ name: 'patient', type: 'reference' }] })) }],
    };
  }

  // No page: the patient is sent back at once with a code.
  #authorize(scene, url) {
    scene.authorize = Object.fromEntries(url.searchParams);
    const back = new URL(scene.authorize.redirect_uri);
    back.searchParams.set('code', `code-of-${scene.name}`);
    back.searchParams.set('state', scene.authorize.state);
    return { status: 302, headers: { location: back.href } };
  }

  #token(scene, form) {
    scene.tokens++;
    const more = typeof scene.token === 'function' ? scene.token(form, scene) : scene.token;
    const usual = { access_token: `access-of-${scene.name}-${scene.tokens}`, refresh_token: `refresh-of-${scene.name}-${scene.tokens}`, token_type: 'Bearer', expires_in: 3600, scope: 'openid fhirUser offline_access launch/patient patient/*.rs', patient: 'p1' };
    const answer = { ...usual, ...more };
    return json(Object.fromEntries(Object.entries(answer).filter(([, value]) => value !== undefined)), 200, { 'cache-control': 'no-store' });
  }
}

// A port that nobody may reach: it counts who comes, on IPv4 and IPv6.
export class Forbidden {
  constructor() {
    this.visits = 0;
  }

  async start() {
    const listen = (server, port, host) => new Promise((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
    const make = () => net.createServer((socket) => {
      this.visits++;
      socket.destroy();
    });
    this.servers = [make(), make()];
    await listen(this.servers[0], 0, HOSPITAL);
    this.port = this.servers[0].address().port;
    await listen(this.servers[1], this.port, '::1').catch(() => this.servers.pop());
    return this;
  }

  stop() {
    for (const server of this.servers) server.close();
  }
}

export const answer = json;
