// Tokens of end users between two sidecars: who a request is from, what of the token is passed on, and where keys come from.
import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { call, connectRaw, echoed, type HttpApp, startHttpApp } from '../support/lab-clients.ts';
import { GrpcClient, startGrpcApp } from '../support/lab-grpc.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, listOf, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';
import { createTestKey, jwksOf, seconds, signToken, type TestKey } from '../support/tokens.ts';

const ISSUER = 'https://issuer.test';
/** Tenths of a second, and more where everything else is busy; by itself it would never end. */
const CUT_MS = 5_000;

interface JwtRuleText {
  readonly [field: string]: unknown;
}

/** JSON is YAML. */
const authentication = (...jwtRules: readonly JwtRuleText[]): string =>
  JSON.stringify({
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name: 'jwt', namespace: 'shop' },
    spec: { selector: { matchLabels: { app: 'web' } }, jwtRules },
  });

const meshConfig = (spec: string): string =>
  `apiVersion: mesh.weft.dev/v1\nkind: MeshConfig\nmetadata: { name: mesh }\nspec: ${spec}\n`;

async function openWeb(
  lab: Lab,
  app: HttpApp,
): Promise<{ readonly web: LabSidecar; readonly via: string }> {
  const service = [{ name: 'http', port: 80, targetPort: 8080 }];
  const args = ['--access-log', 'all'];
  const [web, client] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 8080: app.address }, service, args }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  return { web, via: client.via('web.shop:80') };
}

const tokenOf = (key: TestKey, claims: object = {}): string =>
  signToken(key, { iss: ISSUER, sub: 'ann', exp: seconds(600), ...claims });
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

const ONLY_ANN = policyYaml({
  name: 'only-ann',
  action: 'ALLOW',
  app: 'web',
  rules: `[{from: [{source: {requestPrincipals: ["${ISSUER}/ann"]}}]}, {to: [{operation: {paths: ["/open"]}}]}, {when: [{key: "request.auth.claims[scope]", values: ["read"]}]}]`,
});

test('a good token says who a request is from, a bad one is 401, none is nobody; applications see no token', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const key = createTestKey('RS256', 'one');
  await lab.write(
    'jwt.yaml',
    authentication({
      issuer: ISSUER,
      jwks: jwksOf(key),
      outputClaimToHeaders: [{ header: 'X-User', claim: 'sub' }],
    }),
  );
  await lab.write('p.yaml', ONLY_ANN);
  const { web, via } = await openWeb(lab, app);
  await lab.enforced('jwt');

  assert.equal((await call(via, '/open')).status, 200);
  assert.equal((await call(via, '/closed')).status, 403);

  const good = tokenOf(key);
  for (const round of ['new', 'known']) {
    const answer = echoed(
      await call(via, '/closed?a=1', {
        headers: { ...bearer(good).headers, 'x-user': 'root', X_User: 'root' },
      }),
    );
    assert.equal(answer.headers.authorization, undefined, round);
    assert.equal(answer.headers['x-user'], 'ann');
    assert.equal(answer.headers['x_user'], undefined);
  }
  const byQuery = echoed(await call(via, `/closed?a=1&access_token=${good}&b=2`));
  assert.equal(byQuery.path, '/closed?a=1&b=2');
  assert.equal((await call(via, '/closed', bearer(tokenOf(key, { sub: 'bob' })))).status, 403);
  const byScope = tokenOf(key, { sub: 'bob', scope: 'write read' });
  assert.equal((await call(via, '/closed', bearer(byScope))).status, 200);

  const before = app.requests.length;
  const forged = tokenOf(createTestKey('RS256', 'one'));
  for (const [token, reason] of [
    [forged, 'jwt-bad-signature'],
    [tokenOf(key, { exp: seconds(-600) }), 'jwt-expired'],
    [tokenOf(key, { iss: 'https://evil.test' }), 'jwt-unknown-issuer'],
    ['nonsense', 'jwt-malformed'],
  ] as const) {
    const refused = await call(via, `/open?${reason}`, bearer(token));
    assert.equal(refused.status, 401, reason);
    assert.equal(refused.headers['www-authenticate'], 'Bearer error="invalid_token"');
    await web.access((line) => line['reasonCode'] === reason && line['status'] === 401, reason);
  }
  assert.equal(app.requests.length, before, 'the application hears of none');
  for (const token of [good, forged]) {
    assert.ok(!web.daemon.stdout.includes(token.slice(-40)), 'no token is logged');
  }
  shown('weft', 'jwt');
});

test('gRPC: a bad token is UNAUTHENTICATED, a good one passes, many at once', async () => {
  await using lab = await startLab();
  await using app = await startGrpcApp();
  const key = createTestKey('ES256');
  const service = [{ name: 'grpc', port: 9000, targetPort: 9000 }];
  await lab.write('jwt.yaml', authentication({ issuer: ISSUER, jwks: jwksOf(key) }));
  await lab.write(
    'p.yaml',
    policyYaml({
      name: 'users',
      action: 'ALLOW',
      app: 'web',
      rules: '[{from: [{source: {requestPrincipals: ["*"]}}]}]',
    }),
  );
  const [, client] = await Promise.all([
    lab.startSidecar({ pod: 'web-0', inbound: { 9000: app.address }, service }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:9000'] }),
  ]);
  await lab.enforced('jwt');
  using grpc = new GrpcClient(client.via('web.shop:9000'));
  const tokens = Array.from({ length: 20 }, (_, at) => tokenOf(key, { sub: `user-${at}` }));
  const answers = await Promise.all(
    tokens.map((token, at) => grpc.unary(`hello ${at}`, bearer(token))),
  );
  assert.deepEqual(
    answers.map(({ text }) => text),
    tokens.map((_, at) => `app hello ${at}`),
  );
  await assert.rejects(grpc.unary('hello'), { code: status.PERMISSION_DENIED });
  await assert.rejects(grpc.unary('hello', bearer('x')), {
    code: status.UNAUTHENTICATED,
  });
});

/** Publishes a key set; `isAway` answers 503. */
async function startIssuer() {
  const state = { jwks: '{"keys":[]}', isAway: false, asked: 0 };
  const server = http.createServer((request, response) => {
    state.asked++;
    if (state.isAway) response.writeHead(503).end('later');
    else if (request.url === '/.well-known/openid-configuration') {
      response.end(JSON.stringify({ issuer: uri, jwks_uri: `${uri}/keys` }));
    } else response.end(state.jwks);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const uri = `http://127.0.0.1:${address.port}`;
  return Object.assign(state, {
    uri,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  });
}

test('remote keys: from listed networks alone (CVE-2026-41413), none until they are there (CVE-2026-31837)', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await using issuer = await startIssuer();
  const key = createTestKey('ES256', 'one');
  issuer.jwks = jwksOf(key);
  await lab.write(
    'jwt.yaml',
    authentication({ issuer: ISSUER, jwksUri: `${issuer.uri}/keys` }, { issuer: issuer.uri }),
  );
  const { via } = await openWeb(lab, app);
  await lab.enforced('jwt');
  const token = tokenOf(key);
  await lab.problem('which is not public');
  assert.equal((await call(via, '/', bearer(token))).status, 401);
  assert.equal((await call(via, '/')).status, 200, 'who has no token is nobody, as before');
  assert.equal(issuer.asked, 0, 'nobody was called');

  await lab.write('mesh.yaml', meshConfig('{ jwksAllowedNetworks: ["127.0.0.0/8"] }'));
  const isTaken = async (text: string): Promise<boolean> =>
    (await call(via, '/', bearer(text))).status === 200;
  await eventually(() => isTaken(token), { what: 'the keys' });
  const discovered = tokenOf(key, { iss: issuer.uri });
  await eventually(() => isTaken(discovered), { what: 'the keys by discovery' });
  await eventually(
    async () =>
      listOf(await lab.ask('/v1/problems'), 'problems').every(
        ({ code }) => code !== 'keys-missing',
      ),
    { what: 'the end of the problem' },
  );

  await lab.remove('jwt.yaml');
  await eventually(async () => (await call(via, '/', bearer('x'))).status === 200, {
    what: 'the end of the policy',
  });
});

test('a key that is taken out of a policy ends what runs by its tokens at once; others stay', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const [old, kept] = [createTestKey('ES256', 'old'), createTestKey('ES256', 'kept')];
  await lab.write('jwt.yaml', authentication({ issuer: ISSUER, jwks: jwksOf(old, kept) }));
  await lab.write('p.yaml', ONLY_ANN);
  const { via } = await openWeb(lab, app);
  await lab.enforced('jwt');
  const hold = (key: TestKey): string =>
    `GET /hold HTTP/1.1\r\nhost: web\r\nauthorization: Bearer ${tokenOf(key)}\r\n\r\n`;
  using forbidden = await connectRaw(via);
  using allowed = await connectRaw(via);
  forbidden.write(hold(old));
  allowed.write(hold(kept));
  await Promise.all([forbidden.reads('held'), allowed.reads('held')]);

  const savedAt = performance.now();
  await lab.write('jwt.yaml', authentication({ issuer: ISSUER, jwks: jwksOf(kept) }));
  await forbidden.closed();
  assert.ok(performance.now() - savedAt < CUT_MS, `it took ${performance.now() - savedAt} ms`);
  assert.doesNotMatch(forbidden.text, /released/);
  assert.equal((await call(via, '/x', bearer(tokenOf(old)))).status, 401);
  await eventually(() => app.held === 1, { what: 'the end of the forbidden request at the app' });
  app.release();
  await allowed.reads('released');
});

test('a RequestAuthentication that cannot be read closes what it selects until it can', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const key = createTestKey();
  await lab.write('jwt.yaml', authentication({ isuer: ISSUER, jwks: jwksOf(key) }));
  const { via } = await openWeb(lab, app);
  await lab.problem('unknown field');
  await eventually(async () => (await call(via, '/')).status === 403, { what: 'the refusal' });
  await lab.write('jwt.yaml', authentication({ issuer: ISSUER, jwks: jwksOf(key) }));
  await eventually(async () => (await call(via, '/')).status === 200, { what: 'the cure' });
  await lab.write('jwt.yaml', authentication({ isuer: ISSUER, jwks: jwksOf(key) }));
  await lab.problem('last good version');
  assert.equal((await call(via, '/', bearer('bad'))).status, 401, 'the last good version holds');
});
