// Routes of the Gateway API are followed by gRPC clients without a proxy: by method and header, by shares, with limits of their own.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  planeOf,
  PORT,
  startClient,
  startProxyless,
  startServer,
  targetOf,
} from '../support/grpc-lab.ts';
import {
  type CallSpec,
  type ClientKind,
  clientProgram,
  type GrpcClient,
} from '../support/grpc-programs.ts';
import { startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

const KINDS: readonly ClientKind[] = ['grpc-go', 'grpc-js', 'grpcio'];
const stack = new AsyncDisposableStack();
const clients = new Map<ClientKind, GrpcClient>();
let missing: string | undefined = 'nothing was started';

const PARENT = 'parentRefs: [{ group: "", kind: Service, name: talk, port: 80 }]';
const to = (name: string, weight = 1): string => `{ name: ${name}, port: 80, weight: ${weight} }`;
const ROUTES = `
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: talk, namespace: shop }
spec:
  ${PARENT}
  rules:
  - matches: [{ method: { service: a.Old, method: Say } }]
    backendRefs: [${to('talk')}]
  - matches: [{ method: { service: a.Old } }, { method: { service: b.Any }, headers: [{ name: x-version, value: two }] }]
    backendRefs: [${to('newer')}]
  - matches: [{ method: { service: c.Lost } }]
    backendRefs: [${to('nobody')}]
  - matches: [{ method: { service: d.Share } }]
    backendRefs: [${to('talk', 1)}, ${to('newer', 3)}, ${to('nobody', 0)}]
  - matches: [{ method: { service: b.Any } }]
    backendRefs: [${to('talk')}]
`;

before(async () => {
  for (const kind of KINDS) {
    const program = await clientProgram(kind);
    if ('missing' in program) {
      missing = program.missing;
      return;
    }
  }
  const lab = stack.use(await startLab());
  await lab.write('routes.yaml', ROUTES);
  for (const pod of ['talk-0', 'newer-0'])
    stack.use(await startServer(await startProxyless(lab, { pod, port: PORT })));
  const web = await startProxyless(lab, { pod: 'web-0' });
  for (const kind of KINDS) clients.set(kind, stack.use(await startClient(kind, web)));
  missing = undefined;
});
after(() => stack.disposeAsync());

for (const kind of KINDS) {
  test(`${kind} follows a GRPCRoute: by method, by header, by shares, and nowhere`, async (t) => {
    const client = clients.get(kind);
    if (client === undefined) return t.skip(missing);
    const by = async (method: string, more: Partial<CallSpec> = {}): Promise<string> => {
      const { codes, values } = await client.call({ target: targetOf('talk'), method, ...more });
      return codes[0] === 'OK' ? (values[0]?.split(' ')[0] ?? '') : (codes[0] ?? '');
    };
    assert.equal(await by('/a.Old/Say', { waits: true }), 'talk-0');
    assert.equal(await by('/a.Old/Other'), 'newer-0');
    assert.equal(await by('/b.Any/Say'), 'talk-0');
    assert.equal(await by('/b.Any/Say', { headers: { 'x-version': 'two' } }), 'newer-0');
    assert.equal(await by('/c.Lost/Say'), 'UNAVAILABLE');
    assert.equal(await by('/z.Unknown/Say'), 'UNAVAILABLE');
    const { values } = await client.call({
      target: targetOf('talk'),
      method: '/d.Share/Say',
      count: 80,
    });
    const newer = values.filter((value) => value.startsWith('newer-0')).length;
    assert.ok(
      newer >= 40 && newer <= 76,
      `${newer} of 80 went to the one with three shares of four`,
    );
    shown(planeOf(kind), 'grpc-calls');
  });
}
