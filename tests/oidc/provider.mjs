// A certified OpenID provider on the loopback: node provider.mjs PORT.
// Lines on standard input steer it: "rotate" signs with a new key from then on (the old one stays published).
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const console_ = process.env.CONSOLE_URL ?? 'http://127.0.0.1:1';
let keys = [newKey()];
let provider = newProvider();

function newKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: `k-${Math.random().toString(36).slice(2)}` };
}

function newProvider() {
  const made = new Provider(issuer, {
    jwks: { keys },
    cookies: { keys: ['for this run only'] },
    clients: [
      {
        client_id: 'batch',
        client_secret: 'batch secret: 100%',
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        groups: 'ml-apps nightly',
      },
      { client_id: 'gateway', client_secret: 'gateway-secret', grant_types: [], response_types: [], redirect_uris: [] },
      {
        client_id: 'console',
        client_secret: 'console-secret',
        grant_types: ['authorization_code'],
        response_types: ['code'],
        redirect_uris: [`${console_}/login/callback`],
      },
    ],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    extraClientMetadata: { properties: ['groups'] },
    extraTokenClaims: (ctx) => ({ groups: ctx.oidc.client.groups }),
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: ['staff', 'ml-leads'] }) }),
    claims: { openid: ['sub'], groups: ['groups'] },
    scopes: ['openid', 'groups', 'infer'],
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: true },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: 'infer',
          audience: 'inference',
          accessTokenFormat: resource === 'urn:opaque' ? 'opaque' : 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  return made.callback();
}

createServer((request, response) => provider(request, response)).listen(port, '127.0.0.1', () => console.log('ready'));

createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'rotate') {
      keys = [newKey(), ...keys];
      provider = newProvider();
      console.log(`signs with ${keys[0].kid}`);
    }
  })
  // Nobody is left who could stop us.
  .on('close', () => process.exit(0));
