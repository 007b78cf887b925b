// CUSTOM policies: an external authorizer is asked over the mesh, over HTTP and over gRPC, and what it says holds.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { isPlainObject } from '@weft/model/policy/reader';
import { call, connectRaw, startHttpApp } from '../support/lab-clients.ts';
import { startGrpcAuthorizer, startHttpAuthorizer } from '../support/lab-authorizers.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Lab, type LabSidecar, startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

const HOST = 'authz.shop.svc.cluster.local';
const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client';
const RULE = 'ns[shop]-policy[ask]-rule[0]';

const provider = (kind: 'envoyExtAuthzHttp' | 'envoyExtAuthzGrpc', spec: object): string =>
  `apiVersion: mesh.weft.dev/v1
kind: MeshConfig
metadata: { name: mesh }
spec:
  extensionProviders:
    - name: my-authz
      ${kind}: ${JSON.stringify({ service: HOST, port: 9000, timeout: '10s', ...spec })}
`;

const ASK = policyYaml({
  name: 'ask',
  action: 'CUSTOM',
  app: 'web',
  provider: 'my-authz',
  rules: '[{to: [{operation: {paths: ["/asked*"]}}]}]',
});

interface Shop {
  readonly web: LabSidecar;
  readonly via: string;
}

/** The application, its caller, and an authorizer behind a sidecar of its own. */
async function openShop(
  lab: Lab,
  at: { readonly app: string; readonly authz: string; readonly protocol: 'http' | 'grpc' },
): Promise<Shop> {
  const [web, client] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 8080: at.app },
      service: [{ name: 'http', port: 80, targetPort: 8080 }],
      args: ['--access-log', 'all'],
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
    lab.startSidecar({
      pod: 'authz-0',
      inbound: { 9090: at.authz },
      service: [{ name: at.protocol, port: 9000, targetPort: 9090 }],
      args: ['--access-log', 'all'],
    }),
  ]);
  return { web, via: client.via('web.shop:80') };
}

/** What the application was told, as it echoes it. */
function seenBy(body: string): Readonly<Record<string, unknown>> {
  const echoed: unknown = JSON.parse(body);
  const headers = isPlainObject(echoed) ? echoed['headers'] : undefined;
  assert.ok(isPlainObject(headers));
  return headers;
}

test('an authorizer over HTTP is asked about what CUSTOM rules match, told every header value, and its word holds', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await using authz = await startHttpAuthorizer((asked, response) => {
    const isGood = asked.headers.get('x-token')?.includes('good') === true;
    if (isGood) response.setHeader('x-user', 'ann').writeHead(200).end();
    else {
      response.writeHead(401, { 'www-authenticate': 'Basic', 'x-internal': 'secret' });
      response.end('log in first');
    }
  });
  await lab.write(
    'mesh.yaml',
    provider('envoyExtAuthzHttp', {
      pathPrefix: '/check',
      includeRequestHeadersInCheck: ['x-token', 'x-forwarded-client-cert'],
      includeAdditionalHeadersInCheck: { 'x-from': 'weft' },
      headersToUpstreamOnAllow: ['x-user'],
      headersToDownstreamOnDeny: ['x-reason'],
    }),
  );
  const { web, via } = await openShop(lab, {
    app: app.address,
    authz: authz.address,
    protocol: 'http',
  });
  await lab.write('p.yaml', ASK);
  await lab.enforced('ask');

  assert.equal((await call(via, '/open')).status, 200);
  assert.equal(authz.asked.length, 0, 'what no rule matches is not asked about');

  const headers = {
    'x-token': ['bad', 'good'],
    'x-from': 'client',
    'x-other': 'o',
    'x-user': 'eve',
  };
  const allowed = await call(via, '/asked/a?q=1', { headers });
  assert.equal(allowed.status, 200);
  const [asked] = authz.asked;
  assert.equal(asked?.path, '/check/asked/a?q=1');
  assert.deepEqual(asked.headers.get('x-token'), ['bad', 'good'], 'CVE-2021-32777');
  assert.deepEqual(asked.headers.get('x-from'), ['weft']);
  assert.equal(asked.headers.get('x-other'), undefined);
  const cert = asked.headers.get('x-forwarded-client-cert')?.[0] ?? '';
  assert.match(cert, /URI=.*\/sa\/web$/, 'its own sidecar says who asks');
  assert.equal(seenBy(allowed.body)['x-user'], 'ann', 'in place of what the client said');

  const refused = await call(via, '/asked/b');
  assert.deepEqual([refused.status, refused.body], [401, 'log in first']);
  assert.equal(refused.headers['www-authenticate'], 'Basic');
  assert.equal(refused.headers['x-internal'], undefined);
  const line = await web.access((entry) => entry['path'] === '/asked/b', 'the refusal');
  assert.equal(line['policy'], RULE);
  assert.equal(line['decisionReason'], 'custom-denied');
  assert.partialDeepStrictEqual(line['authorizers'], [{ provider: 'my-authz', answer: 'deny' }]);
  assert.equal(await web.metric('weft_ext_authz_total', 'provider="my-authz",answer="allow"'), 1);
  assert.equal(await web.metric('weft_ext_authz_total', 'provider="my-authz",answer="deny"'), 1);
  assert.deepEqual(app.requests, ['GET /open', 'GET /asked/a?q=1']);
});

test('an authorizer over gRPC is told the whole head and who calls, and may change the request', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await using authz = await startGrpcAuthorizer(({ attributes }) => {
    const { headers } = attributes.request.http;
    if (headers['x-token'] !== 'bad,good') {
      const header = { key: 'x-why', value: 'no token' };
      const denied = { status: { code: 'PaymentRequired' }, headers: [{ header }], body: 'pay' };
      return { status: { code: 7 }, denied_response: denied };
    }
    const header = { key: 'x-user', value: 'ann' };
    return {
      status: { code: 0 },
      ok_response: { headers: [{ header }], headers_to_remove: ['x-token', 'host'] },
    };
  });
  await lab.write('mesh.yaml', provider('envoyExtAuthzGrpc', {}));
  const { via } = await openShop(lab, { app: app.address, authz: authz.address, protocol: 'grpc' });
  await lab.write('p.yaml', ASK);
  await lab.enforced('ask');
  const headers = { 'x-token': ['bad', 'good'] };
  const allowed = await call(via, '/asked/a', { headers });
  assert.equal(allowed.status, 200);
  const [asked] = authz.asked;
  assert.equal(asked?.attributes.source.principal, CLIENT);
  assert.equal(asked.attributes.request.http.path, '/asked/a');
  assert.equal(asked.attributes.request.http.headers[':method'], 'GET');
  const seen = seenBy(allowed.body);
  assert.deepEqual([seen['x-user'], seen['x-token']], ['ann', undefined]);
  const refused = await call(via, '/asked/b', { method: 'POST' });
  assert.deepEqual([refused.status, refused.body], [402, 'pay']);
  assert.equal(refused.headers['x-why'], 'no token');
  shown('weft', 'ext-authz');
});

test('without an answer a request is refused, or let through where failOpen says so, and the log says which', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await using authz = await startHttpAuthorizer((asked, response) => {
    if (asked.path.startsWith('/asked/error')) response.writeHead(503).end();
    // Anything else is never answered.
  });
  const settings = (failOpen: boolean): string =>
    provider('envoyExtAuthzHttp', { timeout: '200ms', statusOnError: '503', failOpen });
  await lab.write('mesh.yaml', settings(false));
  await lab.write('p.yaml', ASK);
  const { web, via } = await openShop(lab, {
    app: app.address,
    authz: authz.address,
    protocol: 'http',
  });
  const answersOf = async (path: string) => {
    const { status } = await call(via, path);
    const line = await web.access((entry) => entry['path'] === path, path);
    const [said] = Array.isArray(line['authorizers']) ? line['authorizers'] : [];
    return [status, said?.answer, said?.reasonCode];
  };
  assert.deepEqual(await answersOf('/asked/slow'), [503, 'failed-closed', 'authorizer-timeout']);
  // An authorizer that answers may be late as well.
  const asked = await eventually(
    async () => {
      const answers = await answersOf(`/asked/error/${randomUUID()}`);
      return answers[2] === 'authorizer-503' && answers;
    },
    { what: 'its refusal' },
  );
  assert.deepEqual(asked, [503, 'failed-closed', 'authorizer-503']);
  await lab.write('mesh.yaml', settings(true));
  await eventually(async () => (await call(via, '/asked/error?')).status === 200, {
    what: 'failing open',
  });
  assert.deepEqual(await answersOf('/asked/slow2'), [200, 'failed-open', 'authorizer-timeout']);
  assert.deepEqual(
    app.requests.filter((line) => line.endsWith('slow')),
    [],
  );
});

test('a policy whose provider is missing denies everything, and the problem names it', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  await lab.write('p.yaml', ASK);
  const [web, client] = await Promise.all([
    lab.startSidecar({
      pod: 'web-0',
      inbound: { 8080: app.address },
      service: [{ name: 'http', port: 80, targetPort: 8080 }],
    }),
    lab.startSidecar({ pod: 'client-0', outbound: ['web.shop:80'] }),
  ]);
  assert.equal((await call(client.via('web.shop:80'), '/open')).status, 403);
  const line = await web.access((entry) => entry['path'] === '/open', 'the refusal');
  assert.equal(line['policy'], 'ns[shop]-policy[ask]-invalid');
  assert.match(JSON.stringify(await lab.problem('missing-provider')), /my-authz/);
  await lab.write('mesh.yaml', provider('envoyExtAuthzHttp', {}));
  assert.match(JSON.stringify(await lab.problem('no Service offers')), new RegExp(HOST));
  assert.equal((await call(client.via('web.shop:80'), '/open')).status, 403);
});

test('while one request waits for the authorizer others of the connection are judged by themselves', async () => {
  await using lab = await startLab();
  await using app = await startHttpApp();
  const held: (() => void)[] = [];
  await using authz = await startHttpAuthorizer((_asked, response) => {
    held.push(() => response.writeHead(200).end());
  });
  await lab.write('mesh.yaml', provider('envoyExtAuthzHttp', {}));
  await lab.write('p.yaml', ASK);
  const { via } = await openShop(lab, { app: app.address, authz: authz.address, protocol: 'http' });
  using waiting = await connectRaw(via);
  waiting.write('GET /asked/a HTTP/1.1\r\nhost: web\r\n\r\n');
  await eventually(() => held.length === 1, { what: 'the question' });
  assert.equal((await call(via, '/open')).status, 200);
  held[0]?.();
  await waiting.reads('/asked/a');
});
