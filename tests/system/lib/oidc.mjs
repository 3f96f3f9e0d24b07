// SPDX-License-Identifier: Apache-2.0
// An authorization server that was not written here: npm oidc-provider with its own login and consent pages, PKCE
// required and refresh tokens that rotate. What SMART adds is `patient` in the token answer.

import { generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import Provider from 'oidc-provider';

export class AuthorizationServer {
  // clients: oidc-provider's own client metadata. patientOf: account -> FHIR id. tokenSeconds: life of an access token.
  constructor({ port, clients, scopes, patientOf, tokenSeconds = 300 }) {
    this.issuer = `http://127.0.0.1:${port}`;
    this.port = port;
    this.refreshes = 0;
    this.faults = [];
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.provider = new Provider(this.issuer, {
      clients,
      scopes,
      jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'own' }] },
      cookies: { keys: ['only for tests'] },
      pkce: { required: () => true, methods: ['S256'] },
      rotateRefreshToken: true,
      issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
      extraParams: ['aud'],
      ttl: { AccessToken: tokenSeconds, AuthorizationCode: 60, RefreshToken: 86400, Grant: 86400, Session: 3600, Interaction: 600, IdToken: 600 },
      features: { devInteractions: { enabled: true }, revocation: { enabled: true }, resourceIndicators: { enabled: false } },
      clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
      enabledJWA: { clientAuthSigningAlgValues: ['RS384', 'ES384'], idTokenSigningAlgValues: ['RS256'] },
      findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    });
    this.provider.use(async (ctx, next) => {
      await next();
      if (ctx.oidc?.route !== 'token') return;
      const account = ctx.oidc.entities.Account?.accountId;
      if (ctx.body?.access_token) ctx.body = { ...ctx.body, patient: patientOf(account) };
      if (ctx.oidc.params?.grant_type === 'refresh_token' && ctx.status === 200) this.refreshes++;
    });
    for (const event of ['authorization.error', 'grant.error', 'server_error']) {
      this.provider.on(event, (ctx, error) => this.faults.push(`${event}: ${error.error ?? ''} ${error.error_description ?? error.message} ${error.error_detail ?? ''}`));
    }
  }

  start() {
    this.server = http.createServer(this.provider.callback());
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(this.port, '127.0.0.1', resolve);
    });
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }

  // Who a bearer token stands for: {client, scopes, account}, or undefined.
  async whose(token) {
    const found = await this.provider.AccessToken.find(token);
    return found && !found.isExpired ? { client: found.clientId, scopes: new Set((found.scope ?? '').split(' ')), account: found.accountId } : undefined;
  }
}

// Presses through the provider's own pages. Gives the Page that left the provider.
export async function signIn(browser, page, login) {
  const onPage = (p) => p.form((f) => f.fields.some((field) => field.name === 'prompt'));
  let form = onPage(page);
  if (form.fields.some((field) => field.name === 'login')) {
    page = await browser.submit(page, form, { login, password: 'any' });
    if (page.url.includes('/interaction/')) form = onPage(page);
  }
  while (page.url.includes('/interaction/')) page = await browser.submit(page, onPage(page));
  return page;
}
