// Servers of grpc-js and of C-core (Python) without a proxy: they know who calls by mutual TLS, and follow policies as grpc-go does.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  freePortEverywhere,
  planeOf,
  principalOf,
  startClient,
  startProxyless,
  startServer,
  targetOf,
} from '../support/grpc-lab.ts';
import { type ClientKind, clientProgram, type GrpcClient } from '../support/grpc-programs.ts';
import { policyYaml } from '../support/lab-manifests.ts';
import { eventually } from '../support/lab-wait.ts';
import { startLab } from '../support/lab.ts';
import { shown } from '../support/shown.ts';

const OTHER = '/weft.test.Echo/Other';
const target = targetOf('prices');

async function codeOf(client: GrpcClient, method?: string): Promise<string> {
  const { codes } = await client.call({ target, timeMs: 4_000, ...(method && { method }) });
  return (codes[0] ?? '').replaceAll('_', '');
}

for (const kind of ['grpc-js', 'grpcio'] as const satisfies readonly ClientKind[]) {
  test(`a server of ${kind} knows who calls, and follows policies and their changes`, async (t) => {
    const program = await clientProgram(kind);
    if ('missing' in program) return t.skip(program.missing);
    await using lab = await startLab();
    // A server of grpc-js listens at its port of every address, whichever it was given.
    const port = await freePortEverywhere();
    const prices = await startProxyless(lab, { pod: 'prices-0', port });
    const allow = `[{ from: [{ source: { principals: ["${principalOf('web')}"] } }], to: [{ operation: { paths: ["/weft.test.Echo/Say"] } }] }]`;
    const policy = { name: 'p', app: 'prices' } as const;
    await lab.write('policies.yaml', policyYaml({ ...policy, action: 'ALLOW', rules: allow }));
    await using server = await startServer(prices, kind, port);
    const web = await startProxyless(lab, { pod: 'web-0' });
    const cart = await startProxyless(lab, { pod: 'cart-0' });
    await using client = await startClient('grpc-js', web);
    await using stranger = await startClient('grpc-js', cart);
    const said = await client.call({ target, waits: true });
    assert.deepEqual(said.codes, ['OK'], `${said.message} ${server.complaint}`);
    assert.deepEqual(said.values, ['prices-0 spiffe://cluster.local/ns/shop/sa/web']);
    assert.equal(await codeOf(client, OTHER), 'PERMISSIONDENIED');
    assert.equal(await codeOf(stranger), 'PERMISSIONDENIED');
    const deny = `[{ from: [{ source: { principals: ["${principalOf('web')}"] } }] }]`;
    await lab.write('policies.yaml', policyYaml({ ...policy, action: 'DENY', rules: deny }));
    await eventually(async () => (await codeOf(client)) === 'PERMISSIONDENIED', {
      what: 'the new policy holds',
      withinMs: 20_000,
    });
    assert.equal(await codeOf(stranger, OTHER), 'OK');
    const { body } = await prices.agent.ask('/metrics');
    assert.doesNotMatch(body, /weft_agent_answers_total\{answer="refused"\} [1-9]/);
    await lab.enforced('p');
    shown(planeOf(kind), 'grpc-called', 'rules-http', 'status');
  });
}
