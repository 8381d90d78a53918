// A call waits for people, and they hear of it by mail: from a real mail server to a real login, and back to the call.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { accessToken, Browser, configuration, freePort, running, signIn, start, stop, until } from './harness.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { SALLYPORT, SALLYPORT_LOAD, PYTHON } = process.env;
const directory = mkdtempSync(join(tmpdir(), 'sallyport-notify-'));
const file = (name) => join(directory, name);
const [providerPort, modelPort, gatewayPort, adminPort, mailPort, submissionPort] = await Promise.all([1, 2, 3, 4, 5, 6].map(freePort));
const issuer = `http://127.0.0.1:${providerPort}`;
const admin = `http://127.0.0.1:${adminPort}`;
const RECIPIENTS = ['grace@example.com', 'heidi@example.com'];
// Has their mail from another server, by a connection that begins in the clear (STARTTLS).
const UPGRADED = 'ivan@example.com';

// What the mail server shows is trusted because the gateway is told so, as an operator would: SSL_CERT_FILE.
function certificate() {
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=mail',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE',
    '-keyout', file('mail.key'), '-out', file('mail.pem'),
  ], { stdio: 'pipe' });
}

function configure() {
  writeFileSync(file('smtp'), `smtps://gateway:mail%20secret@127.0.0.1:${mailPort}`);
  writeFileSync(file('submission'), `smtp://gateway:mail%20secret@127.0.0.1:${submissionPort}?tls=required`);
  writeFileSync(file('console'), 'console-secret');
  writeFileSync(
    file('people.policy'),
    `policy "people" version 1
rule access.apps { when identity in group("ml-apps") allow }
rule people.finetune { when model == "big" require approval from group("ml-leads") by 1 within 15m valid 1h }
`,
  );
  const target = (secret, to) => `{ smtp = "file:${secret}", from = "Sallyport <gateway@example.com>", to = ${JSON.stringify(to)} }`;
  const tables = `[approvals]\nnotify = [${target('smtp', RECIPIENTS)}, ${target('submission', [UPGRADED])}]\n`;
  const rest = { secret: file('console'), policy: 'people.policy', tables };
  writeFileSync(file('sallyport.toml'), configuration({ gatewayPort, adminPort, modelPort, issuer, ...rest }));
}

const leadsTo = (page) => new URL(/url=([^"]+)"/.exec(page.text)[1], page.url).href;

async function main() {
  certificate();
  const server = (port, way) => start(`mailbox ${way}`, PYTHON, [join(here, 'mailbox.py'), file('mail.pem'), file('mail.key'), String(port), way]);
  const [mailbox, submission] = [server(mailPort, 'tls'), server(submissionPort, 'starttls')];
  const got = (box) => box.output.split('\n').filter((line) => line.startsWith('{"from"')).map((line) => JSON.parse(line));
  const mails = () => got(mailbox);
  await until('the mail servers listen', () => [mailbox, submission].every((box) => box.output.includes('ready')));
  const provider = start('provider', process.execPath, [join(here, 'provider.mjs'), String(providerPort)], { CONSOLE_URL: admin });
  await until('the provider is ready', () => provider.output.includes('ready'));
  const model = start('model', SALLYPORT_LOAD, ['mock-model', '--listen', `127.0.0.1:${modelPort}`]);
  configure();
  const gateway = start('gateway', SALLYPORT, ['run', '--config', file('sallyport.toml')], { SSL_CERT_FILE: file('mail.pem') });
  await until('the gateway serves', () => gateway.output.includes('serving'));

  const call = fetch(`http://127.0.0.1:${gatewayPort}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await accessToken(issuer)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'big', messages: [{ role: 'user', content: 'my number is 536-22-8145' }] }),
  });
  // The server refuses the first mail for the time being.
  await until('both have their mail', () => mails().length >= 2);
  assert.deepEqual(mails().flatMap((mail) => mail.to).sort(), RECIPIENTS);
  const links = mails().map((mail) => {
    assert.ok(mail.signed_in && mail.from === 'gateway@example.com');
    assert.match(mail.subject, /batch asks for approval: big/);
    assert.match(mail.text, /Needs: 1 of ml-leads/);
    assert.ok(mail.text.includes('[US_SSN]') && !mail.text.includes('8145'), mail.text);
    return /https?:\/\/\S+\/links\/\S+/.exec(mail.text)[0];
  });
  assert.notEqual(links[0], links[1], 'each has a link of their own');
  assert.notEqual(mails()[0].id, mails()[1].id);
  console.log('ok  each recipient has a mail, over TLS, with a link of their own');

  await until('the third has theirs', () => got(submission).length >= 1);
  const [upgraded] = got(submission);
  assert.ok(upgraded.signed_in && upgraded.encrypted && upgraded.to.join() === UPGRADED, JSON.stringify(upgraded));
  assert.ok(upgraded.text.includes('[US_SSN]') && /\/links\/\S+/.test(upgraded.text), upgraded.text);
  assert.match(submission.output, /^commands before encryption: EHLO,STARTTLS$/m);
  console.log('ok  over STARTTLS nothing is said before the connection is encrypted');

  // Whoever only looks, as scanners do, is led no further than the login, and uses nothing up.
  for (let looks = 0; looks < 3; looks += 1) {
    const page = await new Browser().go(links[0]);
    assert.equal(page.status, 200);
    assert.ok(leadsTo(page).endsWith('?again'));
  }
  const forged = links[0].slice(0, -1) + (links[0].endsWith('A') ? 'B' : 'A');
  assert.equal((await new Browser().go(forged)).status, 404);

  const browser = new Browser();
  let page = await browser.go(leadsTo(await browser.go(links[0])));
  assert.ok(page.url.startsWith(issuer), 'asked to sign in');
  page = await signIn(browser, page);
  page = await browser.go(leadsTo(page));
  const [, id] = /\/approvals\/(\w{26})$/.exec(page.url) ?? [];
  assert.ok(id, `led to ${page.url}`);
  console.log('ok  a link leads to its request after signing in');

  assert.equal((await browser.go(links[0])).status, 410, 'a second time');
  assert.equal((await new Browser().go(links[0])).status, 410, 'and for anybody else');
  page = await browser.go(links[1]);
  assert.ok(page.url.endsWith(`/approvals/${id}`), 'the other link still works, for someone who has signed in');
  assert.equal((await browser.go(links[1])).status, 410);
  console.log('ok  a link works once');

  const session = JSON.parse((await browser.go(`${admin}/api/v1/session`)).text);
  const cookie = [...browser.cookies.get(new URL(admin).host)].map(([name, value]) => `${name}=${value}`).join('; ');
  const decided = await fetch(`${admin}/api/v1/approvals/${id}/approve`, {
    method: 'POST',
    headers: { cookie, 'x-sallyport-csrf': session.csrf, 'content-type': 'application/json' },
    body: JSON.stringify({ reason: 'go ahead' }),
  });
  assert.equal(decided.status, 200, await decided.text());
  const answer = await call;
  assert.equal(answer.status, 200, await answer.text());
  await until('both hear of the decision', () => mails().length >= 4);
  assert.ok(mails().slice(2).every((mail) => /grace approved a request of batch/.test(mail.subject) && mail.text.includes('go ahead')));
  assert.ok(mails().slice(2).every((mail) => !mail.text.includes('/links/')), 'there is nothing left to decide');
  console.log('ok  the call returns, and people hear of the decision');

  // A restart makes no link good again.
  await stop(gateway);
  const again = start('gateway', SALLYPORT, ['run', '--config', file('sallyport.toml')], { SSL_CERT_FILE: file('mail.pem') });
  await until('the gateway serves again', () => again.output.includes('serving'));
  assert.equal((await new Browser().go(links[0])).status, 410, 'after a restart');
  console.log('ok  a restart makes no link good again');
  await stop(again);
  execFileSync(SALLYPORT, ['audit', 'verify', '--data', file('data')]);
  await stop(provider);
  await stop(model);
  mailbox.child.stdin.end();
  submission.child.stdin.end();
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
