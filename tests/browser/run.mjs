// SPDX-License-Identifier: Apache-2.0
// The patient's way in Debian's Chromium, over a whole stack: Picker and Direct mode, with script and without, by keyboard alone,
// at 320 px, in the dark; every page through axe.

import assert from 'node:assert/strict';
import { after, run, test } from '../system/lib/runner.mjs';
import { Stack } from '../system/lib/stack.mjs';
import { checkPage, newPatient, startApp, startChromium } from './lib/patient.mjs';

const stack = await Stack.make({ name: 'browser' });
after(() => stack.down());
await stack.up();
const app = await startApp();
after(() => app.stop());
const browser = await startChromium();
after(() => browser.close());

const hospital = (await stack.api('GET', '/connections?q=Sandbox%20Hospital&limit=1')).json.data[0];

async function newSession(more = {}) {
  const answer = await stack.api('POST', '/patient-sessions', {
    patient_id: `browser-${Math.random().toString(36).slice(2)}`,
    patient_name: 'Amara Okonjo',
    return_url: app.url,
    ...more,
  });
  assert.equal(answer.status, 200, answer.text);
  return answer.json;
}

const readSession = async (id) => (await stack.api('GET', `/patient-sessions/${id}`)).json;

/** Runs `fn` as a new patient and closes the browser's profile whatever happens. */
async function asPatient(options, fn) {
  const patient = await newPatient(browser, options);
  try {
    return await fn(patient);
  } finally {
    await patient.close();
  }
}

/** Through the sandbox hospital's own pages: sign in as its first patient, then allow or refuse. */
async function atHospital(page, { decision = 'Allow' } = {}) {
  await page.getByRole('radio').first().check();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: decision }).click();
}

async function returned(page) {
  await page.waitForURL((url) => url.origin === app.origin);
  return new URL(page.url());
}

test('Picker with script: type, confirm, sign in, connected, Done', () =>
  asPatient({}, async (patient) => {
    const { page } = patient;
    const session = await newSession({ return_button_label: 'the demo app' });
    await page.goto(session.url);
    await checkPage(patient, 'landing');
    await page.locator('#q').pressSequentially('sandbox hosp', { delay: 10 });
    await page.getByRole('option').first().waitFor();
    await checkPage(patient, 'suggestions');
    await page.getByRole('option', { name: hospital.name }).first().click();
    await checkPage(patient, 'chosen');
    await page.getByRole('button', { name: /^Continue to sign in at/ }).click();
    await page.waitForURL(/\/sandbox\//);
    await atHospital(page);
    await page.getByRole('heading', { name: /is connected$/ }).waitFor();
    await checkPage(patient, 'connected');
    await page.getByRole('link', { name: 'Connect another source' }).click();
    await page.getByRole('heading', { name: 'Connected', exact: true }).waitFor();
    await checkPage(patient, 'landing-connected');
    await page.getByRole('button', { name: /Done/ }).click();
    const back = await returned(page);
    assert.deepEqual([...back.searchParams.keys()], ['keep', 'patient_id', 'patient_session_id']);
    assert.equal(back.searchParams.get('patient_id'), session.patient_id);
    assert.equal(back.searchParams.get('patient_session_id'), session.id);
    assert.equal(back.hash, '#part');
    const ended = await readSession(session.id);
    assert.equal(ended.status, 'complete');
    assert.equal(ended.connections[0].status, 'active');
    await page.goto(session.url);
    await page.getByRole('heading', { name: 'You are done here' }).waitFor();
    await checkPage(patient, 'complete');
  }));

test('Picker without script, at 320 px', () =>
  asPatient({ javaScriptEnabled: false, viewport: { width: 320, height: 640 } }, async ({ page }) => {
    const session = await newSession({ recommended_connection_ids: [hospital.id] });
    await page.goto(session.url);
    await page.getByRole('heading', { name: /^Suggested by/ }).waitFor();
    await page.getByLabel('Hospital, clinic or health plan').fill('sandbox hospital');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByRole('button', { name: `Connect ${hospital.name}` }).first().click();
    await page.waitForURL(/\/sandbox\//);
    await atHospital(page);
    await page.getByRole('heading', { name: /is connected$/ }).waitFor();
    await page.getByRole('button', { name: 'Finish' }).click();
    await returned(page);
    assert.equal((await readSession(session.id)).status, 'complete');
  }));

test('Direct mode with script goes on at once and straight back', () =>
  asPatient({}, async ({ page, complaints }) => {
    const session = await newSession({ connection_id: hospital.id });
    await page.goto(session.url);
    await page.waitForURL(/\/sandbox\//);
    await atHospital(page);
    const back = await returned(page);
    assert.equal(back.searchParams.get('success'), 'true');
    assert.equal(back.searchParams.get('connection_id'), hospital.id);
    assert.deepEqual(complaints, []);
    assert.equal((await readSession(session.id)).status, 'complete');
  }));

test('Direct mode without script needs one press', () =>
  asPatient({ javaScriptEnabled: false }, async ({ page }) => {
    const session = await newSession({ connection_id: hospital.id });
    await page.goto(session.url);
    await page.getByRole('button', { name: 'Continue to sign in' }).click();
    await page.waitForURL(/\/sandbox\//);
    await atHospital(page);
    assert.equal((await returned(page)).searchParams.get('success'), 'true');
  }));

test('a refusal says so and offers another try', () =>
  asPatient({}, async (patient) => {
    const { page } = patient;
    const session = await newSession({ recommended_connection_ids: [hospital.id] });
    await page.goto(session.url);
    await page.getByRole('button', { name: `Connect ${hospital.name}` }).click();
    await page.waitForURL(/\/sandbox\//);
    await atHospital(page, { decision: 'Refuse' });
    await page.getByRole('heading', { name: /is not connected$/ }).waitFor();
    await page.getByText('You chose not to share your records').waitFor();
    await checkPage(patient, 'refused');
    const [row] = (await readSession(session.id)).connections;
    assert.equal(row.status, 'failed');
    assert.equal(row.failure_code, 'user_denied');
    assert.equal(row.id, null);
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.waitForURL(/\/sandbox\//);
  }));

test('the search works by keyboard alone', () =>
  asPatient({}, async ({ page }) => {
    await page.goto((await newSession()).url);
    const input = page.getByRole('combobox');
    for (let i = 0; i < 6 && !(await input.evaluate((e) => e === document.activeElement)); i++) await page.keyboard.press('Tab');
    await page.keyboard.type('sandbox', { delay: 10 });
    await page.getByRole('option').first().waitFor();
    assert.equal(await input.getAttribute('aria-expanded'), 'true');
    assert.equal(await input.getAttribute('aria-activedescendant'), null);
    await page.keyboard.press('ArrowDown');
    const active = await input.getAttribute('aria-activedescendant');
    assert.equal(await page.locator(`#${active}`).getAttribute('aria-selected'), 'true');
    await page.keyboard.press('ArrowUp'); // from the first to the last
    const count = await page.getByRole('option').count();
    assert.equal(await input.getAttribute('aria-activedescendant'), `q-list-${count - 1}`);
    await page.keyboard.press('Escape');
    assert.equal(await input.getAttribute('aria-expanded'), 'false');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Is this the right one?' }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H2');
    await page.keyboard.press('Tab');
    assert.match(await page.evaluate(() => document.activeElement?.textContent ?? ''), /^Continue to sign in/);
  }));

test('narrow, dark and in Spanish, every page passes axe', () =>
  asPatient({ viewport: { width: 320, height: 640 }, colorScheme: 'dark' }, async (patient) => {
    const { page } = patient;
    const session = await newSession({ recommended_connection_ids: [hospital.id] });
    await page.goto(session.url);
    await checkPage(patient, 'landing-320-dark');
    await page.getByRole('link', { name: 'Español' }).click();
    await page.getByRole('heading', { name: 'Conecte su historial médico' }).waitFor();
    assert.equal(await page.locator('html').getAttribute('lang'), 'es');
    await checkPage(patient, 'landing-320-es');
    await page.goto(`${session.url}?q=zzzzzz`); // the language is kept
    await page.getByText('No encontramos nada').waitFor();
    await checkPage(patient, 'nothing-320-es');
    await page.goto(`${stack.url}/c/AAAAAAAAAAAAAAAAAAAAAA`);
    await page.getByRole('heading', { name: 'Este enlace no funciona' }).waitFor();
    await checkPage(patient, 'unknown-320-es');
  }));

test('a form that another browser made is refused', () =>
  asPatient({}, async (first) => {
    const session = await newSession({ recommended_connection_ids: [hospital.id] });
    await first.page.goto(session.url);
    const token = await first.page.locator('input[name="token"]').first().inputValue();
    await asPatient({}, async (second) => {
      await second.page.goto(session.url);
      await second.page.locator('#results input[name="token"]').evaluate((e, value) => (e.value = value), token);
      await second.page.getByRole('button', { name: `Connect ${hospital.name}` }).click();
      await second.page.getByRole('heading', { name: 'Please start again' }).waitFor();
      await checkPage(second, 'start-again');
      await second.page.getByRole('link', { name: 'Open the page again' }).click();
      await second.page.getByRole('heading', { name: 'Connect your health records' }).waitFor();
    });
    assert.deepEqual((await readSession(session.id)).connections, []);
  }));

process.exitCode = (await run()) ? 0 : 1;
