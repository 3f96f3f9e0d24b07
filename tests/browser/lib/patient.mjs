// SPDX-License-Identifier: Apache-2.0
// A patient in a real Chromium: contexts with and without script, what axe finds, screenshots, and everything that a page complained of.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { TEST_DIR } from '../../system/lib/stack.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SHOTS = path.join(TEST_DIR, 'screenshots');
const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export async function startChromium() {
  mkdirSync(SHOTS, { recursive: true });
  return chromium.launch({ executablePath: process.env.CHARTWAY_CHROMIUM ?? '/usr/bin/chromium', args: ARGS });
}

/** A fresh browser profile; `options` as for newContext. Complaints of its pages are gathered in `patient.complaints`. */
export async function newPatient(chromiumBrowser, options = {}) {
  const context = await chromiumBrowser.newContext({ viewport: { width: 1000, height: 800 }, locale: 'en-US', ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/i.test(message.text())) complaints.push(message.text());
  });
  return { context, page, complaints, close: () => context.close() };
}

/** Fails on whatever axe calls a violation, and on anything wider than the window. */
export async function checkPage({ page, complaints }, name) {
  await page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage: true });
  await page.evaluate(`${AXE};0`);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run();
    return violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(' | ')}`);
  });
  assert.deepEqual(found, [], `${name}: axe`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(over <= 0, `${name}: ${over} px wider than the window`);
  assert.deepEqual(complaints, [], `${name}: complaints`);
}

/** Where the app would be: a page that answers every address and remembers what it was asked. */
export async function startApp() {
  const asked = [];
  const server = createServer((request, response) => {
    if (request.url !== '/favicon.ico') asked.push(request.url);
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end('<!doctype html><html lang="en"><title>App</title><h1>Back at the app</h1>');
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  return {
    asked,
    url: `http://127.0.0.1:${port}/back?keep=1#part`,
    origin: `http://127.0.0.1:${port}`,
    stop: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
