// What suites with an OpenID provider share: programs that are started and stopped, a configuration, tokens, and a browser.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export const running = [];

export function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

export function start(name, program, args, env = {}) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const own = { name, child, output: '' };
  child.stdout.on('data', (data) => (own.output += data));
  child.stderr.on('data', (data) => (own.output += data));
  running.push(own);
  return own;
}

export async function until(what, holds, seconds = 30) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(50)) {
    if (await holds()) return;
  }
  throw new Error(`never: ${what}`);
}

export async function stop(own) {
  running.splice(running.indexOf(own), 1);
  if (own.child.exitCode !== null) return;
  const ended = new Promise((resolve) => own.child.once('exit', resolve));
  own.child.kill('SIGTERM');
  await ended;
}

// A browser: follows redirects itself and keeps cookies by host and port.
export class Browser {
  cookies = new Map();

  async go(url, form) {
    for (let hops = 0; hops < 20; hops += 1) {
      const { host } = new URL(url);
      const jar = this.cookies.get(host) ?? new Map();
      this.cookies.set(host, jar);
      const answer = await fetch(url, {
        redirect: 'manual',
        method: form ? 'POST' : 'GET',
        body: form && new URLSearchParams(form),
        headers: { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') },
      });
      for (const line of answer.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
        if (/max-age=0/i.test(line) || value === '') jar.delete(name);
        else jar.set(name, value);
      }
      const text = await answer.text();
      const next = answer.headers.get('location');
      if (!next) return { url, status: answer.status, text };
      [url, form] = [new URL(next, url).href, undefined];
    }
    throw new Error('too many redirects');
  }
}

// A gateway in front of a model, with the provider for callers and for the console. `secret` is the file of the console's secret;
// `issuerKeys` are further keys of the issuer, `tables` further tables.
export function configuration({ gatewayPort, adminPort, modelPort, issuer, secret, policy, issuerKeys = '', tables = '' }) {
  return `data = "data"
[listen]
address = "127.0.0.1:${gatewayPort}"
cores = 1
[admin]
address = "127.0.0.1:${adminPort}"
url = "http://127.0.0.1:${adminPort}"
[admin.login]
issuer = "${issuer}"
client_id = "console"
client_secret = "file:${secret}"
scopes = ["openid", "groups"]
[admin.roles]
viewer = ["staff"]
approver = ["ml-leads"]
[[issuer]]
url = "${issuer}"
audience = ["inference"]
${issuerKeys}
[[upstream]]
name = "model"
endpoints = ["http://127.0.0.1:${modelPort}"]
[policy]
path = "${policy}"
${tables}
`;
}

// A token of the service account.
export async function accessToken(issuer, resource = 'urn:inference') {
  const basic = Buffer.from(`batch:${encodeURIComponent('batch secret: 100%')}`).toString('base64');
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'infer', resource }),
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return JSON.parse(text).access_token;
}

// Signs in as grace, whom the provider puts into staff and ml-leads; the page that follows.
export async function signIn(browser, page) {
  for (const form of [{ prompt: 'login', login: 'grace', password: 'x' }, { prompt: 'consent' }]) {
    const [, action] = /action="([^"]+)"/.exec(page.text);
    page = await browser.go(new URL(action, page.url).href, form);
  }
  assert.equal(page.status, 200, page.text);
  assert.ok(page.text.includes('You are signed in'), page.text);
  return page;
}
