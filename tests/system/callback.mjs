// SPDX-License-Identifier: Apache-2.0
// The way back from the portal, as it must not be: replayed, foreign, tampered, without a cookie, with an error, with HTML.

import assert from 'node:assert/strict';
import { test } from './lib/runner.mjs';
import { Browser } from './lib/browser.mjs';
import { Journey, operator } from './lib/patient.mjs';

// Stops before the callback is called; gives its URL.
async function toCallback(journey, source, name = 'Ida Leer') {
  const page = await journey.signIn(await journey.choose(source), name);
  const stopped = await journey.consent(page, { stopAt: (target) => target.pathname.startsWith('/callback/') });
  assert.match(stopped.location, /\/callback\//);
  return stopped.location;
}

export default function add(stack) {
  test('a replayed state changes nothing', async () => {
    const journey = await Journey.begin(stack);
    const url = await toCallback(journey, stack.hospital);
    assert.equal((await journey.browser.open(url)).status, 200);
    const before = await journey.read();
    const again = await journey.browser.open(url);
    assert.ok(again.status >= 200 && again.status < 500);
    assert.deepEqual(await journey.read(), before);
    assert.equal(before.connections[0].status, 'active');
  });

  test('another browser cannot complete it, and the attempt fails as browser_mismatch', async () => {
    const journey = await Journey.begin(stack);
    const url = await toCallback(journey, stack.hospital);
    const stranger = new Browser();
    const page = await stranger.open(url);
    assert.ok(!page.location || !page.location.startsWith('https://app.example'), 'no way on from here');
    const read = await journey.read();
    assert.equal(read.connections[0].status, 'failed');
    assert.equal(read.connections[0].failure_code, 'browser_mismatch');
    assert.equal((await stack.sql('SELECT COUNT(*) FROM attempt WHERE status = 2'))[0][0], '0');
  });

  test('a tampered, foreign or missing state is answered by a plain page', async () => {
    const journey = await Journey.begin(stack);
    const url = new URL(await toCallback(journey, stack.hospital));
    const state = url.searchParams.get('state');
    for (const wrong of [state.slice(0, -1), `${state}A`, 'x', '', `${state.slice(0, 60)}B${state.slice(61)}`]) {
      const bad = new URL(url);
      bad.searchParams.set('state', wrong);
      const page = await journey.browser.open(bad.href);
      assert.ok([400, 404, 410].includes(page.status), `${page.status}`);
      assert.equal(page.location, undefined);
    }
    const bare = await journey.browser.open(`${stack.url}/callback/sandbox`);
    assert.equal(bare.status, 400);
    assert.equal((await journey.browser.open(`${stack.url}/callback/unknown?state=${state}&code=x`)).status >= 400, true);
    assert.equal((await journey.browser.open(url.href)).status, 200, 'the true one still works');
  });

  test('an issuer that is not the one that was asked (RFC 9207)', async () => {
    const journey = await Journey.begin(stack, { connection_id: stack.hospital });
    const url = new URL(await toCallback(journey, undefined));
    url.searchParams.set('iss', 'https://evil.example');
    const back = await journey.browser.open(url.href);
    assert.equal(new URL(back.location).searchParams.get('error'), 'issuer_mismatch');
  });

  test('errors of the portal: stable codes, and nothing of its text in URLs', async () => {
    for (const [error, code] of [['access_denied', 'user_denied'], ['temporarily_unavailable', 'portal_unavailable'], ['unauthorized_client', 'organization_not_enabled'], ['weird_error', 'oauth_callback_failed']]) {
      const journey = await Journey.begin(stack, { connection_id: stack.hospital });
      const url = new URL(await toCallback(journey, undefined));
      url.searchParams.delete('code');
      url.searchParams.set('error', error);
      url.searchParams.set('error_description', 'CANARY-portal-words <script>');
      const back = await journey.browser.open(url.href);
      assert.equal(new URL(back.location).searchParams.get('error'), code);
      assert.ok(!back.location.includes('CANARY'));
    }
  });

  for (const [fault, code] of [['wrong_type', 'token_answer_invalid'], ['dead_grant', 'token_exchange_failed'], ['error', undefined]]) {
    test(`the token endpoint answers ${fault}`, async () => {
      const kinds = await operator(stack, 'GET', '/faults');
      assert.ok(kinds);
      await operator(stack, 'POST', '/faults', { point: 'token', fault, count: 1 });
      const journey = await Journey.begin(stack, { connection_id: stack.hospital });
      const back = await journey.connect(undefined, 'Ida Leer');
      await operator(stack, 'DELETE', '/faults');
      const target = new URL(back.location);
      assert.equal(target.searchParams.get('success'), 'false');
      if (code) assert.equal(target.searchParams.get('error'), code);
      assert.equal((await journey.read()).connections[0].status, 'failed');
    });
  }

  test('at most ten attempts in flight in one Session', async () => {
    const journey = await Journey.begin(stack);
    for (let i = 0; i < 10; i++) assert.match((await journey.choose(stack.hospital)).url, /\/sandbox\/oauth\/authorize/);
    const eleventh = await journey.choose(stack.hospital);
    assert.ok(!eleventh.url.includes('/sandbox/'), 'no eleventh');
  });

  test('the JWKS is public members only', async () => {
    const answer = await fetch(`${stack.url}/.well-known/jwks.json`);
    assert.equal(answer.status, 200);
    const { keys } = await answer.json();
    assert.ok(keys.length >= 4);
    for (const key of keys) {
      for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) assert.ok(!(secret in key));
      assert.equal(key.use, 'sig');
    }
  });
}
