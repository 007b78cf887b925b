// Refuses to measure a proxy that is not what it is said to be: asks it over mutual TLS what policies allow and what they deny.
import https from 'node:https';
import { checkControlPlane } from '@weft/dataplane/control-plane/link';
import { parseSpiffeId } from '@weft/model/identity';
import { call, failureOf } from '../support/lab-clients.ts';
import { eventually } from '../support/lab-wait.ts';
import { type Credential, credentialOf, type Identities } from './identities.ts';
import type { Endpoint } from './peers/envoy-config.ts';
import { CALLED, CALLER, POLICY, STRANGER } from './policies.ts';

const SETTLE_MS = 15_000;
const ANSWER_MS = 5_000;

/** @returns what is so. @throws Error that says what is not. */
export async function checkInbound(
  to: Endpoint,
  identities: Identities,
): Promise<readonly string[]> {
  const checks: string[] = [];
  const check = (isTrue: boolean, what: string): void => {
    if (!isTrue) throw new Error(`Cannot measure ${to.host}:${to.port}: not so that ${what}`);
    checks.push(what);
  };
  const statusOf = (account: string | undefined, path: string, method = 'GET'): Promise<number> =>
    ask({
      to,
      path,
      method,
      bundlePem: identities.bundlePem,
      own: account === undefined ? undefined : credentialOf(identities, account),
      serverId: credentialOf(identities, CALLED).spiffeId,
    });
  await eventually(async () => (await statusOf(CALLER, '/100b').catch(() => 0)) === 200, {
    what: `an answer of ${to.host}:${to.port}`,
    withinMs: SETTLE_MS,
  });
  checks.push("over TLS 1.3 with the called workload's certificate the allowed request is 200");
  check((await statusOf(CALLER, POLICY.deniedPath)) === 403, 'the denied path is 403');
  check((await statusOf(CALLER, '/100b', 'POST')) === 403, 'another method is 403');
  check((await statusOf(STRANGER, '/100b')) === 403, 'another identity is 403');
  const nobody = await failureOf(statusOf(undefined, '/100b'));
  check(nobody !== undefined, 'without a certificate there is no answer');
  const plain = await failureOf(call(`${to.host}:${to.port}`, '/100b'));
  check(plain !== undefined, 'plain text is refused');
  return checks;
}

function ask(how: {
  readonly to: Endpoint;
  readonly path: string;
  readonly method: string;
  readonly bundlePem: string;
  readonly own: Credential | undefined;
  readonly serverId: string;
}): Promise<number> {
  const { to, path, method, bundlePem, own } = how;
  const serverId = parseSpiffeId(how.serverId);
  if (serverId === undefined) throw new TypeError(`Cannot call ${how.serverId}: no SPIFFE id`);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const request = https.request(
    {
      ...to,
      path,
      method,
      agent: false,
      timeout: ANSWER_MS,
      ca: bundlePem,
      ...(own && { key: own.keyPem, cert: own.chainPem }),
      minVersion: 'TLSv1.3',
      servername: 'workload',
      checkServerIdentity: checkControlPlane(serverId),
    },
    (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    },
  );
  request.on('timeout', () => request.destroy(new Error('no answer in time')));
  request.on('error', reject);
  request.end();
  return promise;
}
