// The console in a real browser: people sign in, approve and deny calls of the real OpenAI SDK, find, replay and prove them. Each page is
// looked at by axe-core in light and dark, and kept as a picture. Everything listens on loopback.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
const { SALLYPORT, PYTHON, CHROMIUM = '/usr/bin/chromium' } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const directory = mkdtempSync(join(tmpdir(), 'sallyport-console-'));
const pictures = join(directory, 'pictures');
mkdirSync(pictures);
const data = join(directory, 'data');
// The quickstart's policy, and a model that people need access to.
const policy = join(directory, 'console.policy');
writeFileSync(policy, `${readFileSync('examples/quickstart.policy', 'utf8')}
rule access.clinical {
    when app and model == "clinical-model"
    allow
    require grant from group("ml-leads") within 15m for 1h
}
`);
const running = [];

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

function start(name, program, args) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const own = { name, child, output: '' };
  own.ended = new Promise((resolve) => child.once('close', (code) => resolve({ code, output: own.output })));
  child.stdout.on('data', (bytes) => (own.output += bytes));
  child.stderr.on('data', (bytes) => (own.output += bytes));
  running.push(own);
  return own;
}

async function until(what, holds, seconds = 30) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(100)) {
    const found = await holds();
    if (found) return found;
  }
  throw new Error(`never: ${what}`);
}

const [gatewayPort, adminPort] = [await freePort(), await freePort()];
const gateway = `http://127.0.0.1:${gatewayPort}`;
const admin = `http://127.0.0.1:${adminPort}`;

function token(user, ...groups) {
  const args = ['token', '--user', user, ...groups.flatMap((group) => ['--group', group]), '--data', data];
  return execFileSync(SALLYPORT, args, { encoding: 'utf8' }).trim();
}

/** A call of the SDK; resolves to what came of it. */
function call(model, text, ...more) {
  const caller = start('caller', PYTHON, [join(here, 'caller.py'), gateway, token('alice', 'ml-apps'), model, text, ...more]);
  return caller.ended.then(({ output }) => {
    running.splice(running.indexOf(caller), 1);
    return JSON.parse(output.trim().split('\n').pop() || '{}');
  });
}

const results = [];
async function test(name, run) {
  const began = Date.now();
  try {
    await run();
  } catch (error) {
    console.error(`not ok ${name}\n${error.stack}`);
    if (page) await page.screenshot({ path: join(pictures, 'failure.png'), fullPage: true }).catch(() => {});
    throw error;
  }
  results.push(name);
  console.log(`ok ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
}

let page;
const elsewhere = [], complaints = [], faults = [];

/** A picture of the page in light and in dark, and what axe-core has to say about each. */
async function look(name) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.waitForTimeout(50);
    await page.screenshot({ path: join(pictures, `${name}-${colorScheme}.png`), fullPage: true });
    const found = await page.evaluate(async () => {
      const { violations } = await window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] });
      return violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => `${node.html} ${node.failureSummary}`) }));
    });
    faults.push(...found.map((fault) => ({ page: `${name} in ${colorScheme}`, ...fault })));
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

/** Tab by tab through the page: the skip link first, then everything in the order in which it stands. */
async function focusOrder(name) {
  await page.evaluate(() => { document.activeElement?.blur(); window.scrollTo(0, 0); });
  const places = [];
  for (let step = 0; step < 40; step += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const every = [...document.querySelectorAll('*')];
      const now = document.activeElement;
      return now === document.body ? null : { place: every.indexOf(now), name: now.className || now.tagName };
    });
    if (!at) break;
    places.push(at);
  }
  if (places[0]?.place > places[1]?.place) places.shift();
  const wrapped = places.findIndex((at, step) => step > 0 && at.place < places[step - 1].place);
  const round = wrapped > 0 ? places.slice(0, wrapped) : places;
  assert.ok(round.length > 3, `${name}: ${JSON.stringify(places)}`);
  assert.deepEqual(round.map((at) => at.place), round.map((at) => at.place).toSorted((a, b) => a - b), name);
}

const OPEN = ['/healthz', '/readyz'];
const PAGES = ['/', '/approvals', '/approvals/x', '/exchanges', '/exchanges/x', '/policy', '/upstreams', '/evidence'];

async function everything() {
  await test('a call is answered masked, another is denied', async () => {
    const allowed = await call('mock-model', 'My mail is bob@example.com', '--stream');
    assert.match(allowed.said, /\[US_SSN\]/);
    const denied = await call('secret-model', 'Hello');
    assert.equal(denied.status, 403, JSON.stringify(denied));
  });

  const parked = call('finetune-model', 'Please tune on set 7, ask carol@example.com');
  await test('a page without a session leads to the login and back', async () => {
    await page.goto(`${admin}/approvals`);
    assert.match(page.url(), /\/login\?next=%2Fapprovals$/);
    await look('login');
    await page.getByLabel('User').fill('grace');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL(`${admin}/approvals`);
    await page.getByRole('heading', { name: 'Approvals' }).waitFor();
  });

  await test('a parked call is seen, and approved with a reason', async () => {
    await page.getByRole('link', { name: /Review.*alice/ }).waitFor();
    await look('approvals');
    await focusOrder('approvals');
    await page.goto(`${admin}/`);
    await page.getByRole('link', { name: /Review.*alice/ }).waitFor();
    await look('overview-waiting');
    await page.getByRole('link', { name: /Review.*alice/ }).click();
    await page.getByRole('heading', { name: 'alice asks for finetune-model' }).waitFor();
    assert.match(await page.locator('pre.body').first().innerText(), /set 7/);
    assert.match(await page.getByRole('region', { name: 'What the policy says' }).innerText(), /require approval from group\("ml-leads"\)/);
    await look('approval');
    await focusOrder('approval');
    await page.getByLabel('Reason').fill('Agreed with the data office');
    await page.getByRole('button', { name: 'Approve once' }).click();
    await page.getByText('Agreed with the data office').waitFor();
    const answer = await parked;
    assert.match(answer.said ?? '', /\[US_SSN\]/, JSON.stringify(answer));
    await look('approval-settled');
  });

  await test('another is denied, and the caller reads the reason', async () => {
    const refused = call('finetune-model', 'Please tune on set 8');
    await page.goto(`${admin}/approvals`);
    await page.getByRole('link', { name: /Review.*alice/ }).click();
    await page.getByLabel('Reason').fill('Not during the freeze');
    await page.getByRole('button', { name: 'Deny' }).click();
    await page.getByText('Not during the freeze').waitFor();
    const answer = await refused;
    assert.equal(answer.status, 403, JSON.stringify(answer));
    assert.match(answer.message, /Not during the freeze/);
  });

  await test('access is granted, lasts, and is taken back', async () => {
    const asking = call('clinical-model', 'Is it benign?');
    await page.goto(`${admin}/approvals`);
    await page.getByRole('link', { name: /Review.*alice on clinical-model/ }).click();
    await page.getByRole('heading', { name: 'alice asks for access to clinical-model' }).waitFor();
    await look('grant');
    await page.getByLabel('Reason').fill('On the ward this week');
    await page.getByRole('button', { name: 'Grant access' }).click();
    await page.getByText('On the ward this week').waitFor();
    assert.match((await asking).said ?? '', /\[US_SSN\]/);
    // The next one asks nobody.
    assert.match((await call('clinical-model', 'And this one?')).said ?? '', /\[US_SSN\]/);
    await page.goto(`${admin}/approvals`);
    assert.equal(await page.getByRole('link', { name: /Review.*clinical-model/ }).count(), 0);
    const inForce = page.getByRole('region', { name: /In force, as a table/ });
    await inForce.getByRole('link', { name: /Open.*alice on clinical-model/ }).click();
    await page.getByRole('button', { name: 'Revoke' }).waitFor();
    await look('grant-in-force');
    await page.getByLabel('Reason').fill('The week is over');
    await page.getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('The week is over').waitFor();
    const refused = await call('clinical-model', 'One more?');
    assert.equal(refused.status, 403, JSON.stringify(refused));
    assert.match(refused.message, /The week is over/);
    await look('grant-revoked');
  });

  await test('both are found by search', async () => {
    await page.goto(`${admin}/`);
    await page.keyboard.press('/');
    await page.waitForURL(/exchanges/);
    await page.keyboard.press('/');
    await page.keyboard.type('subject:alice rule:access.finetune');
    await page.keyboard.press('Enter');
    await page.waitForURL(/finetune/);
    assert.equal(await page.locator('#rows tr').count(), 2, await page.locator('#results').innerText());
    await look('exchanges');
    await focusOrder('exchanges');
    await page.goto(`${admin}/exchanges?q=${encodeURIComponent('decision:deny')}`);
    assert.ok((await page.locator('#rows tr').count()) >= 1);
    await page.goto(`${admin}/exchanges?q=nonsense`);
    await page.getByRole('alert').waitFor();
    await look('exchanges-wrong');
    await page.goto(`${admin}/exchanges?q=${encodeURIComponent('subject:nobody')}`);
    await page.getByText('Nothing found').waitFor();
    await look('exchanges-none');
  });

  await test('one is opened, replayed and proved', async () => {
    await page.goto(`${admin}/exchanges?q=${encodeURIComponent('subject:alice model:mock-model')}`);
    await page.locator('#rows tr a').first().click();
    await page.getByRole('heading', { name: /Call of alice to mock-model/ }).waitFor();
    const timeline = await page.locator('.timeline').innerText();
    for (const step of ['Arrived', 'Identified', 'Judged', 'Intent written down', 'First byte', 'Outcome written down']) {
      assert.ok(timeline.includes(step), `${step} is not in ${timeline}`);
    }
    assert.ok((await page.locator('pre.body mark').count()) > 0, 'masks are marked in place');
    const whole = await page.locator('[data-said]').innerText();
    assert.match(whole, /\[US_SSN\]/);
    await look('exchange');
    await focusOrder('exchange');
    // In the middle of a replay a part of the words is there; at its end all of them.
    await page.getByRole('button', { name: 'Replay' }).click();
    await until('a part of the answer is there', async () => {
      const now = await page.locator('[data-said]').innerText();
      return now.length > 0 && now.length < whole.length;
    });
    await page.screenshot({ path: join(pictures, 'exchange-replaying.png') });
    await page.getByLabel('Speed').selectOption('16');
    await page.getByRole('button', { name: 'Replay' }).waitFor();
    assert.equal(await page.locator('[data-said]').innerText(), whole);
    await until('the record is under a checkpoint and proved', async () => {
      await page.getByRole('button', { name: 'Verify now' }).click();
      await page.waitForLoadState();
      return page.getByText('Proved.').isVisible();
    });
    await look('exchange-proved');
  });

  await test('a refused call says why, and can be tried on the active policy', async () => {
    await page.goto(`${admin}/exchanges?q=${encodeURIComponent('model:secret-model')}`);
    await page.locator('#rows tr a').first().click();
    await page.getByRole('heading', { name: /Refused call/ }).waitFor();
    await look('exchange-refused');
    await page.getByRole('link', { name: 'Try it on the active policy' }).click();
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.locator('.explained').getByText('This model is not open to you.').first().waitFor();
    const held = page.locator('tr', { has: page.locator('summary code', { hasText: 'access.no-secret-models' }) });
    assert.match(await held.locator('td').nth(1).innerText(), /^1$/);
    await look('policy');
    await focusOrder('policy');
  });

  await test('calls are seen as they end', async () => {
    await page.goto(`${admin}/exchanges?q=${encodeURIComponent('subject:alice')}`);
    const before = await page.locator('#rows tr').count();
    await page.getByRole('button', { name: 'Follow live' }).click();
    await page.waitForResponse((answer) => answer.url().includes('/exchanges/live') && answer.status() === 200);
    const answered = call('mock-model', 'One more', '--stream');
    await page.locator('#rows tr.fresh').waitFor();
    await answered;
    assert.equal(await page.locator('#rows tr').count(), before + 1);
    await look('exchanges-live');
    await page.getByRole('button', { name: 'Following' }).click();
  });

  await test('the rest of the pages', async () => {
    await page.goto(`${admin}/upstreams`);
    await page.getByText('mock').first().waitFor();
    await look('upstreams');
    await page.goto(`${admin}/evidence`);
    await look('evidence');
    await page.getByRole('button', { name: 'Verify the whole log' }).click();
    await page.getByText('sound').first().waitFor();
    await look('evidence-verified');
    await page.goto(`${admin}/policy`);
    await page.getByRole('button', { name: 'Reload now' }).click();
    await page.getByText('nothing changed').waitFor();
    await page.goto(`${admin}/approvals`);
    await look('approvals-settled');
    await page.goto(`${admin}/`);
    await until('the traffic of the last seconds is drawn', async () => {
      await page.reload();
      return page.locator('.chart svg').isVisible();
    });
    await look('overview');
    await page.setViewportSize({ width: 420, height: 900 });
    await look('overview-narrow');
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.goto(`${admin}/approvals/no-such-id`);
    await page.getByRole('alert').waitFor();
    await look('not-there');
  });

  await test('each look at evidence is a record', async () => {
    await page.goto(`${admin}/exchanges?all=true&q=${encodeURIComponent('kind:access subject:grace')}`);
    const seen = await page.locator('#rows').innerText();
    for (const action of ['searched', 'shown', 'proved', 'verified', 'followed']) assert.ok(seen.includes(action), `${action} is not in ${seen}`);
    await look('exchanges-all');
  });

  await test('a form without its proof changes nothing, a session without the role sees nothing', async () => {
    const cookies = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
    const headers = { cookie: cookies, origin: admin, 'content-type': 'application/x-www-form-urlencoded' };
    for (const path of ['/approvals/x', '/exchanges/x/verify', '/policy/explain', '/policy/reload', '/evidence/verify']) {
      for (const csrf of ['', 'csrf=wrong&decision=approve']) {
        assert.equal((await fetch(admin + path, { method: 'POST', headers, body: csrf })).status, 403, path);
      }
    }
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByText('You are signed out').or(page.getByRole('heading', { name: 'Signed out' })).first().waitFor();
    await page.goto(`${admin}/exchanges`);
    assert.match(page.url(), /login\?next=%2Fexchanges/);
    await page.getByLabel('User').fill('mallory');
    await page.getByLabel('Groups').fill('');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL(`${admin}/exchanges`);
    await page.getByText('This page is for the role auditor').waitFor();
    await look('no-role');
  });

  await test('nothing is there without a login', async () => {
    const bearer = { authorization: `Bearer ${token('root', 'admins')}` };
    const document = await (await fetch(`${admin}/api/v1/openapi.json`, { headers: bearer })).json();
    let walked = 0;
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const method of Object.keys(methods)) {
        const answer = await fetch(admin + path.replace(/\{\w+\}/g, 'x'), { method: method.toUpperCase() });
        assert.equal(answer.status, OPEN.includes(path) ? 200 : 401, `${method} ${path}`);
        walked += 1;
      }
    }
    assert.ok(walked > 25, String(walked));
    for (const path of PAGES) {
      const answer = await fetch(admin + path, { redirect: 'manual' });
      assert.equal(answer.status, 303, path);
      assert.match(answer.headers.get('location'), /^\/login/);
    }
    for (const path of ['/approvals/x', '/policy/reload', '/policy/explain', '/evidence/verify', '/exchanges/x/verify', '/logout']) {
      assert.equal((await fetch(admin + path, { method: 'POST', redirect: 'manual' })).status, 303, path);
    }
  });

  await test('axe-core finds nothing on any page, in light or dark', async () => assert.deepEqual(faults, []));

  await test('nothing was asked of other servers, and nothing broke the security policy', async () => {
    assert.deepEqual(elsewhere, []);
    assert.deepEqual(complaints, []);
  });

  await test('no request by the document makes the admin API fail', async () => {
    const fuzz = start('schemathesis', join(dirname(PYTHON), 'schemathesis'), [
      'run', `${admin}/api/v1/openapi.json`, '--header', `Authorization: Bearer ${token('root', 'admins', 'ml-leads')}`,
      '--checks', 'not_a_server_error', '--max-time', '45', '--max-examples', '20', '--phases', 'examples,coverage,fuzzing',
      '--request-timeout', '10', '--seed', '1', '--no-color',
      // It is a stream that does not end; every other operation is asked.
      '--exclude-path', '/api/v1/exchanges/live',
    ]);
    const { code, output } = await fuzz.ended;
    running.splice(running.indexOf(fuzz), 1);
    assert.equal(code, 0, output);
    console.log(output.split('\n').filter((line) => /passed|generated|Operations|Tested/i.test(line)).map((line) => `    ${line.trim()}`).join('\n'));
    assert.equal((await fetch(`${admin}/readyz`)).status, 200);
  });
}

let browser;
let failed = false;
try {
  const own = start('sallyport', SALLYPORT, ['--listen', `127.0.0.1:${gatewayPort}`, '--admin', `127.0.0.1:${adminPort}`, '--data', data, '--policy', policy, '--cores', '1']);
  await until('the gateway is ready', async () => {
    if (own.child.exitCode !== null) throw new Error(`the gateway ended:\n${own.output}`);
    return (await fetch(`${admin}/readyz`).catch(() => null))?.ok;
  });
  await until('the greeting leads to the console', () => new RegExp(`console +${admin}`).test(own.output));
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: 'en-GB', timezoneId: 'Europe/Berlin' });
  await context.addInitScript(axe);
  page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on('request', (request) => { if (!request.url().startsWith(admin)) elsewhere.push(request.url()); });
  page.on('console', (message) => { if (message.type() === 'error' && /Content Security|Refused/.test(message.text())) complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await everything();
} catch (error) {
  failed = true;
  console.error(error.message);
  for (const own of running) console.error(`--- ${own.name}\n${own.output.slice(-4000)}`);
} finally {
  await browser?.close();
  for (const own of running) own.child.kill('SIGTERM');
  await Promise.all(running.map((own) => own.ended));
}
console.log(`${results.length} tests; pictures in ${pictures}`);
process.exit(failed ? 1 : 0);
