// Certificates from files and Secrets: rotated while they are in use, the last good ones kept, and what is withdrawn gone.
import assert from 'node:assert/strict';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import { createTurnableClock } from '@weft/ca/testing/turnable-clock';
import { SecretText } from '@weft/model/secret-text';
import type { Secret } from '@weft/xds/resources/secret';
import type { TerminationTls } from '@weft/xds/resources/termination';
import { eventually } from '../../../../test/support/lab-wait.ts';
import {
  type Leaf,
  missingTools,
  OutsideCa,
  textOf,
} from '../../../../test/support/tls-clients.ts';
import { TerminationEngine } from './engine.ts';

const skip = missingTools() ?? false;

const rulesOf = (certificates: TerminationTls['certificates']): TerminationTls => ({
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  alpn: [],
  certificates,
});

interface Rig extends AsyncDisposable {
  readonly engine: TerminationEngine;
  readonly problems: readonly string[];
  readonly secrets: Map<string, Secret>;
  changes: number;
  /** Lets the time pass until files are looked at again. */
  look(): void;
  /** The name in the certificate that a client is shown; `undefined`: it is refused. */
  shown(serverName?: string): Promise<string | undefined>;
}

async function startRig(rules: TerminationTls, secrets = new Map<string, Secret>()): Promise<Rig> {
  const problems: string[] = [];
  const rig = { changes: 0 };
  const clock = createTurnableClock();
  const engine = new TerminationEngine({
    tls: rules,
    secret: (name) => secrets.get(name),
    now: () => Date.now(),
    clock,
    onChange: () => void rig.changes++,
    onProblem: (problem) => void problems.push(problem),
  });
  await engine.start(new Map());
  let name: string | undefined;
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy());
    if (engine.acceptor === undefined) socket.destroy();
    engine.acceptor?.accept(socket, name, {
      onSecure: (secure) => secure.end('x'),
      onRefused: () => socket.destroy(),
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const shown = (serverName?: string): Promise<string | undefined> =>
    new Promise((resolve) => {
      name = serverName;
      const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
      socket.once('secureConnect', () => {
        resolve(String(socket.getPeerX509Certificate()?.subject));
        socket.destroy();
      });
      socket.once('error', () => resolve(undefined));
      socket.once('close', () => resolve(undefined));
    });
  return Object.assign(rig, {
    engine,
    problems,
    secrets,
    look: () => clock.turn(1_000),
    shown,
    [Symbol.asyncDispose]: async () => {
      engine[Symbol.dispose]();
      server.close();
      await once(server, 'close');
    },
  });
}

test('files are followed: new ones are shown, a pair that does not fit and one that is gone change nothing', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const [certificate, key] = [ca.path('live.pem'), ca.path('live.key')];
  const put = (leaf: Leaf, keyOf = leaf): void => {
    copyFileSync(leaf.certificate, certificate);
    copyFileSync(keyOf.key, key);
  };
  const [one, two] = [ca.issue({ subject: '/CN=one' }), ca.issue({ subject: '/CN=two' })];
  put(one);
  await using rig = await startRig(rulesOf([{ kind: 'file', certificate, key }]));
  const told = (what: string): Promise<true> =>
    eventually(
      () => {
        rig.look();
        return rig.problems.some((text) => text.includes(what)) && true;
      },
      { what: `that it is told: ${what}` },
    );
  assert.equal(await rig.shown(), 'CN=one');
  put(two, one);
  await told('another certificate');
  assert.equal(await rig.shown(), 'CN=one');
  rmSync(key);
  await told('cannot be read');
  assert.equal(await rig.shown(), 'CN=one');
  writeFileSync(key, 'no key at all');
  writeFileSync(certificate, 'no certificate');
  await told('no certificate');
  assert.equal(await rig.shown(), 'CN=one');
  put(two);
  await eventually(
    async () => {
      rig.look();
      return (await rig.shown()) === 'CN=two';
    },
    { what: 'the second certificate' },
  );
  for (const problem of rig.problems) assert.ok(!problem.includes('PRIVATE'), problem);
});

test('of Secrets that are there names are served, one that is withdrawn takes its names, and the last one closes', {
  skip,
}, async () => {
  using ca = new OutsideCa();
  const secretOf = (name: string, host: string): Secret => {
    const leaf = ca.issue({ subject: `/CN=${name}`, altNames: `DNS:${host}` });
    return {
      name,
      certificatePem: textOf(leaf.certificate),
      keyPem: new SecretText(textOf(leaf.key)),
    };
  };
  const refs = ['one', 'two'].map((name) => ({ kind: 'sds', name }) as const);
  await using rig = await startRig(rulesOf(refs), new Map([['one', secretOf('one', 'a.example')]]));
  assert.equal(await rig.shown('b.example'), 'CN=one', 'the other is not there yet');
  assert.deepEqual(rig.problems, ['two: is not there']);
  rig.secrets.set('two', secretOf('two', '*.b.example'));
  rig.engine.refresh();
  assert.equal(await rig.shown('x.b.example'), 'CN=two');
  assert.equal(await rig.shown('X.B.EXAMPLE'), 'CN=two');
  assert.equal(
    await rig.shown('x.y.b.example'),
    'CN=one',
    'a wildcard is for one label (CVE-2020-15104)',
  );
  assert.equal(await rig.shown('b.example'), 'CN=one');
  const before = rig.changes;
  rig.engine.refresh();
  assert.equal(rig.changes, before, 'nothing has changed');
  rig.secrets.delete('two');
  rig.engine.refresh();
  assert.equal(await rig.shown('x.b.example'), 'CN=one');
  rig.secrets.delete('one');
  rig.engine.refresh();
  assert.equal(await rig.shown('a.example'), undefined);
  assert.ok(rig.changes > before);
});
