// The gateway in front of a certified OpenID provider: service accounts, opaque tokens, key rotation under traffic, a provider
// that stops and starts, and people who sign in to the console. Everything listens on loopback.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { accessToken, Browser, configuration, freePort, running, signIn, start, stop, until } from './harness.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { SALLYPORT, SALLYPORT_LOAD } = process.env;
const directory = mkdtempSync(join(tmpdir(), 'sallyport-oidc-'));

const [providerPort, modelPort, gatewayPort, adminPort] = [await freePort(), await freePort(), await freePort(), await freePort()];
const issuer = `http://127.0.0.1:${providerPort}`;
const gateway = `http://127.0.0.1:${gatewayPort}`;
const admin = `http://127.0.0.1:${adminPort}`;

async function startProvider() {
  const own = start('provider', process.execPath, [join(here, 'provider.mjs'), String(providerPort)], { CONSOLE_URL: admin });
  await until('the provider is ready', () => own.output.includes('ready'));
  return own;
}

const token = (resource) => accessToken(issuer, resource);

function chat(bearer, model = 'm') {
  return fetch(`${gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }),
  });
}

async function passes(bearer) {
  const answer = await chat(bearer);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return answer.headers.get('x-sallyport-request-id');
}

function shown(id) {
  return execFileSync(SALLYPORT, ['audit', 'show', id, '--data', join(directory, 'data')], { encoding: 'utf8' });
}

function configure() {
  writeFileSync(join(directory, 'introspection'), 'gateway-secret');
  writeFileSync(join(directory, 'console'), 'console-secret');
  writeFileSync(
    join(directory, 'groups.policy'),
    'policy "oidc" version 1\nrule access.nightly { when identity in group("nightly") and identity.kind == "service" allow }\n',
  );
  const issuerKeys = `introspection = { client_id = "gateway", client_secret = "file:${join(directory, 'introspection')}" }`;
  const ports = { gatewayPort, adminPort, modelPort, issuer };
  const rest = { secret: join(directory, 'console'), policy: 'groups.policy', issuerKeys };
  writeFileSync(join(directory, 'sallyport.toml'), configuration({ ...ports, ...rest }));
}

async function serviceAccounts() {
  const bearer = await token();
  const id = await passes(bearer);
  const record = shown(id);
  for (const word of ['batch', 'nightly', issuer]) assert.ok(record.includes(word), record);
  const bad = await chat(bearer.slice(0, -8) + 'AAAAAAAA');
  assert.equal(bad.status, 401);
  assert.match(bad.headers.get('www-authenticate'), /invalid_token/);
  await bad.text();
}

async function opaqueTokens() {
  const bearer = await token('urn:opaque');
  assert.ok(!bearer.includes('.'), 'it is opaque');
  assert.ok(shown(await passes(bearer)).includes('batch'));
  const unknown = await chat('no-such-token');
  assert.equal(unknown.status, 401);
  await unknown.text();
}

async function rotationUnderTraffic(provider) {
  const seconds = 8;
  const load = start('load', SALLYPORT_LOAD, [
    'run', '--url', `${gateway}/v1/chat/completions`, '--rate', '50', '--duration', `${seconds}s`, '--warmup', '0s',
    '--token', await token(), '--json',
  ]);
  let fresh = 0;
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(100)) {
    await passes(await token());
    fresh += 1;
    if (fresh === 15) {
      provider.child.stdin.write('rotate\n');
      await until('the key is rotated', () => provider.output.includes('signs with'));
    }
  }
  await until('the load has ended', () => load.child.exitCode !== null);
  const report = JSON.parse(load.output);
  assert.equal(report.ok, report.due, load.output);
  running.splice(running.indexOf(load), 1);
  console.log(`    ${report.ok} calls with a remembered token and ${fresh} with fresh ones, none failed`);
}

async function providerStopsAndStarts(provider) {
  const [used, unused] = [await token(), await token()];
  await passes(used);
  await stop(provider);
  await passes(used);
  await passes(unused);
  const opaque = await chat('opaque-while-it-is-down');
  assert.equal(opaque.status, 503, 'nobody can tell whose token that is');
  await opaque.text();
  // It comes back with keys that nobody has seen: the keys it had count no longer once it says so.
  const again = await startProvider();
  await until('tokens of the new key pass', async () => {
    const answer = await chat(await token());
    await answer.text();
    return answer.status === 200;
  });
  return again;
}

async function peopleSignIn() {
  const browser = new Browser();
  // A page without a session leads to the issuer, and afterwards back to that page.
  const page = await signIn(browser, await browser.go(`${admin}/approvals`));
  assert.ok(page.text.includes('url=/approvals'), page.text);
  const callback = page.url;
  const home = await browser.go(`${admin}/`);
  assert.ok(home.text.includes('grace') && home.text.includes('approver'), home.text);
  const session = JSON.parse((await browser.go(`${admin}/api/v1/session`)).text);
  assert.deepEqual(session.roles, ['viewer', 'approver']);
  // The answer of the issuer counts once, and in no other browser.
  assert.equal((await new Browser().go(callback)).status, 400);
  const out = await browser.go(`${admin}/logout`, { csrf: session.csrf });
  assert.equal(out.status, 200);
  assert.equal((await browser.go(`${admin}/api/v1/session`)).status, 401);
}

async function main() {
  configure();
  const model = start('model', SALLYPORT_LOAD, ['mock-model', '--listen', `127.0.0.1:${modelPort}`]);
  let provider = await startProvider();
  const own = start('gateway', SALLYPORT, ['run', '--config', join(directory, 'sallyport.toml')]);
  await until('the gateway serves', () => own.output.includes('serving'));
  const steps = [
    ['client-credentials tokens of a service account with groups', serviceAccounts],
    ['opaque tokens by introspection', opaqueTokens],
    ['a key is rotated while traffic runs', () => rotationUnderTraffic(provider)],
    ['the provider stops and starts', async () => { provider = await providerStopsAndStarts(provider); }],
    ['people sign in to the console', peopleSignIn],
  ];
  for (const [name, step] of steps) {
    await step();
    console.log(`ok  ${name}`);
  }
  await stop(own);
  execFileSync(SALLYPORT, ['audit', 'verify', '--data', join(directory, 'data')]);
  console.log('ok  the evidence verifies');
  await stop(provider);
  await stop(model);
}

try {
  await main();
  rmSync(directory, { recursive: true });
} catch (error) {
  for (const own of running) console.error(`--- ${own.name} said:\n${own.output.slice(-6000)}`);
  console.error(error);
  process.exitCode = 1;
} finally {
  for (const own of [...running]) own.child.kill('SIGKILL');
}
