// Runs HAProxy as a pair: one thread each, keep-alive to what is behind it, ended by its own pid.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { splitAddress } from '../../support/lab-clients.ts';
import { credentialOf } from '../identities.ts';
import { CALLED, CALLER, POLICY } from '../policies.ts';
import type { MeshSpec } from '../scenario.ts';
import type { Endpoint } from './envoy-config.ts';
import { freeEndpoint } from './envoy.ts';
import { type HaproxyHalf, inboundHaproxy, outboundHaproxy } from './haproxy-config.ts';
import type { MadePair, Place } from './kinds.ts';
import { findCommand, whyMissing } from './packages.ts';

const run = promisify(execFile);
const READY_MS = 10_000;
const POLL_MS = 5;
const NOT_CHECKED =
  "certificates are verified under the mesh's root; the caller's URI is looked for in its certificate's bytes, the server's is not looked at";

/** @returns why it cannot serve a mesh. */
function whyNot({ rules }: MeshSpec): string | undefined {
  if (rules === 'two' || rules === 0) return undefined;
  return 'its rules know no URI of a certificate, so that numbers of them would be other rules';
}

export async function startHaproxyPair(place: Place): Promise<MadePair> {
  const { mesh, identities, lab, appAddress, tokens } = place;
  const reason = whyNot(mesh);
  if (reason !== undefined) return { ok: false, reason };
  const binary = await findCommand('haproxy');
  if (binary === undefined) return { ok: false, reason: whyMissing('haproxy') };
  const version = /version (\d+\.\d+\.\d+)/.exec((await run(binary, ['-v'])).stdout)?.[1] ?? '';
  const { app } = mesh;
  const file = (name: string): string => join(lab.root, `haproxy-${name}`);
  const rootsFile = file('roots.pem');
  const publicKeyFile = file('tokens.pem');
  await writeFile(rootsFile, identities.bundlePem);
  await writeFile(publicKeyFile, tokens.publicKeyPem);
  const halfOf = async (account: string, listen: Endpoint, upstream: Endpoint) => {
    const { chainPem, keyPem } = credentialOf(identities, account);
    const ownFile = file(`${account}.pem`);
    await writeFile(ownFile, `${chainPem}${keyPem}`, { mode: 0o600 });
    return { listen, upstream, app, ownFile, rootsFile } satisfies HaproxyHalf;
  };
  await using stack = new AsyncDisposableStack();
  const inbound = await freeEndpoint();
  const called = await halfOf(CALLED, inbound, splitAddress(appAddress));
  const judged = { policy: POLICY, mesh, tokens, publicKeyFile };
  const second = await startHaproxy(binary, file(CALLED), {
    config: inboundHaproxy(called, judged),
    listen: inbound,
  });
  stack.use(second);
  const front = await freeEndpoint();
  const caller = await halfOf(CALLER, front, inbound);
  const first = await startHaproxy(binary, file(CALLER), {
    config: outboundHaproxy(caller),
    listen: front,
  });
  stack.use(first);
  const owned = stack.move();
  return {
    ok: true,
    pair: {
      name: 'haproxy',
      front,
      inbound,
      pids: [first.pid, second.pid],
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    },
    about: `HAProxy ${version}, one thread, static configuration: ${NOT_CHECKED}`,
  };
}

/** Ready when it takes connections. @param path of its files, without their endings */
async function startHaproxy(
  binary: string,
  path: string,
  { config, listen }: { readonly config: string; readonly listen: Endpoint },
): Promise<AsyncDisposable & { readonly pid: number }> {
  await writeFile(`${path}.cfg`, config, { mode: 0o600 });
  const log = openSync(`${path}.log`, 'w');
  const child = spawn(binary, ['-db', '-f', `${path}.cfg`], { stdio: ['ignore', log, log] });
  closeSync(log);
  const running = { pid: child.pid ?? 0, [Symbol.asyncDispose]: () => end(child) };
  try {
    const until = performance.now() + READY_MS;
    while (!(await isOpen(listen))) {
      if (child.exitCode !== null || performance.now() > until) {
        const said = readFileSync(`${path}.log`, 'utf8').slice(0, 2_000);
        throw new Error(`Cannot start HAProxy: ${said}`);
      }
      await delay(POLL_MS);
    }
  } catch (error) {
    await running[Symbol.asyncDispose]();
    throw error;
  }
  return running;
}

function isOpen({ host, port }: Endpoint): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = net.connect({ host, port }, () => {
    socket.destroy();
    resolve(true);
  });
  socket.on('error', () => resolve(false));
  return promise;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
