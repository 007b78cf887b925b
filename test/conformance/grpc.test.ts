// What must hold: a live server of grpc-go that has its rules from Weft decides what is recorded as it was recorded, and any call that it can be asked for as the evaluator does.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { serverRules } from '@weft/controlplane/resources/grpc/grpc-server-rules';
import { bootstrapText, FILES, IDENTITY_FOLDER } from '@weft/dataplane/proxyless/bootstrap';
import { type DecisionCase, evaluateGroup } from '@weft/model/policy/eval-cases';
import { callGrpc, callLike, whyNoCall } from '../support/conformance-grpc.ts';
import {
  corpusSkip,
  destinationOf,
  manifestOf,
  objectsOf,
  readCorpusGroups,
  WORKLOAD_ACCOUNT,
  type WireGroup,
  wireGroupOf,
} from '../support/conformance-corpus.ts';
import { type ConformanceMesh, openConformanceMesh } from '../support/conformance-mesh.ts';
import { GrpcServer, goGrpc } from '../support/grpc-programs.ts';
import { mkdirSync } from 'node:fs';
import { shown } from '../support/shown.ts';

const POD = 'workload';
const NETWORK = `127.${192 + ((process.pid >> 8) & 31)}.${process.pid & 255}`;
const POD_IP = `${NETWORK}.3`;
const program = corpusSkip === false ? await goGrpc() : { missing: corpusSkip };
const skip = 'missing' in program ? program.missing : false;

const wires = readCorpusGroups().map(wireGroupOf);
const reasons = new Map<string, number>();
const counts = { recorded: 0, calls: 0, closed: 0, differ: 0 };
const count = (reason: string): void => void reasons.set(reason, (reasons.get(reason) ?? 0) + 1);

interface Question {
  readonly case: DecisionCase;
  readonly isRecorded: boolean;
}

/** What is recorded as it stands; else the nearest call, each once, with the evaluator's answer. */
function questionsOf(wire: WireGroup): readonly Question[] {
  const recorded: Question[] = [];
  const calls = new Map<string, DecisionCase>();
  for (const one of wire.cases) {
    const why = whyNoCall(one);
    if (why === undefined) recorded.push({ case: one, isRecorded: true });
    else count(why);
    const request = callLike(one, `${wire.group.trustDomain}/ns/callers/sa/caller`);
    if (request !== undefined)
      calls.set(JSON.stringify(request), {
        name: `${one.name}, as a call`,
        request,
        expect: 'deny',
      });
  }
  const cases = [...calls.values()];
  const group = { ...wire.group, trustDomainAliases: wire.trustDomainAliases, cases };
  const { results } = evaluateGroup(group, objectsOf(wire.group.policies));
  const made = cases.map((one, index): Question => {
    const expect = results[index]?.actual ?? 'deny';
    return { case: { ...one, expect }, isRecorded: false };
  });
  return [...recorded, ...made];
}

/** Files and bootstrap of the workload, by which its server asks the control plane itself. */
async function writeIdentity(mesh: ConformanceMesh, folder: string, namespace: string) {
  const { trustDomain } = mesh;
  const own = mesh.credential(`${trustDomain}/ns/${namespace}/sa/${WORKLOAD_ACCOUNT}`);
  const at = join(folder, IDENTITY_FOLDER);
  mkdirSync(at, { recursive: true });
  await writeFile(join(at, FILES.certificate), own.chainPem);
  await writeFile(join(at, FILES.key), own.keyPem, { mode: 0o600 });
  await writeFile(join(at, FILES.bundle), mesh.pki.bundlePem);
  const { xds: address } = mesh.controlPlane.addresses;
  const file = join(folder, 'bootstrap.json');
  const server = { kind: 'direct', address } as const;
  const nodeId = `${POD}.${namespace}`;
  await writeFile(file, bootstrapText({ nodeId, namespace, locality: undefined, folder, server }));
  return file;
}

describe('recorded decisions at a live gRPC server', { skip }, () => {
  const meshes = new Map<string, ConformanceMesh>();
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weft-grpc-'));
    for (const { group } of wires) {
      if (!meshes.has(group.trustDomain))
        meshes.set(group.trustDomain, await openConformanceMesh(group));
    }
  });
  after(async () => {
    for (const mesh of meshes.values()) await mesh[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
    printTable();
    if (counts.recorded > 0 && counts.differ === 0) shown('grpc-go', 'rules-agree');
  });

  for (const wire of wires) {
    const questions = questionsOf(wire);
    if (questions.length === 0) continue;
    test(`grpc-go decides ${questions.length} calls alike: ${wire.group.name}`, async () => {
      const mesh = meshes.get(wire.group.trustDomain);
      assert.ok(mesh !== undefined);
      const differing = await run(mesh, wire, { questions, folder });
      counts.differ += differing.length;
      assert.deepEqual(differing, []);
    });
  }
});

async function run(
  mesh: ConformanceMesh,
  wire: WireGroup,
  { questions, folder }: { readonly questions: readonly Question[]; readonly folder: string },
): Promise<readonly object[]> {
  const { namespace } = wire.group.workload;
  const placeOf = ({ case: { request } }: Question): string =>
    `${destinationOf(request, POD_IP)}:${request.port}`;
  const ips = new Set(questions.map(({ case: { request } }) => destinationOf(request, POD_IP)));
  await mesh.set(manifestOf(wire, { name: POD, ips: [...ips] }));
  const inbound = mesh.controlPlane.views.mesh().workloads.get(`${POD}.${namespace}`)?.inbound;
  assert.ok(inbound !== undefined);
  const isClosed = serverRules(inbound, 'go').shortfalls.some(
    ({ kind, effect }) => kind === 'AuthorizationPolicy' && effect === 'closed',
  );
  const bootstrap = await writeIdentity(mesh, folder, namespace);
  await using stack = new AsyncDisposableStack();
  for (const listen of new Set(questions.map(placeOf)))
    stack.use(await GrpcServer.start({ listen, name: POD, bootstrap }));
  const differing: object[] = [];
  for (const { case: one, isRecorded } of questions) {
    const { srcPrincipal, port } = one.request;
    const credential = srcPrincipal === null ? undefined : mesh.credential(srcPrincipal);
    const target = { host: destinationOf(one.request, POD_IP), port };
    const { bundlePem } = mesh.pki;
    const { verdict, detail } = await callGrpc(one.request, target, { credential, bundlePem });
    // What gRPC cannot judge may be closed, and nothing else.
    const mayClose = isClosed && verdict === 'deny';
    if (isRecorded) counts.recorded++;
    else if (verdict !== one.expect && mayClose) counts.closed++;
    else counts.calls++;
    const isAlike = verdict === one.expect || (!isRecorded && mayClose);
    if (!isAlike) differing.push({ case: one, verdict, detail });
  }
  return differing;
}

function printTable(): void {
  const lines = [
    `recorded decisions that are calls of gRPC: ${counts.recorded}`,
    `calls made of the others, decided as by the evaluator: ${counts.calls}; closed, for gRPC cannot judge what a rule asks: ${counts.closed}`,
    'no calls of gRPC as they were recorded:',
    ...[...reasons].sort((a, b) => b[1] - a[1]).map(([why, many]) => `  ${many}: ${why}`),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}
