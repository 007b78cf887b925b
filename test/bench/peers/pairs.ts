// Puts the measured pairs side by side: two Weft sidecars, two Envoys, and no proxy at all, before one application.
import type { PlainMessage } from '@weft/xds/registry';
import { splitAddress } from '../../support/lab-clients.ts';
import type { Lab, LabSidecar } from '../../support/lab.ts';
import { credentialOf, type Identities } from '../identities.ts';
import { CALLED, CALLER, POLICY } from '../policies.ts';
import { type Endpoint, inboundConfig, outboundConfig, rulesOf } from './envoy-config.ts';
import { freeEndpoint, startEnvoy } from './envoy.ts';

export const PAIR_NAMES = ['weft', 'envoy', 'haproxy', 'direct'] as const;
export type PairName = (typeof PAIR_NAMES)[number];

export interface Pair extends AsyncDisposable {
  readonly name: PairName;
  /** Where the calling application goes. */
  readonly front: Endpoint;
  /** The called side's mutual TLS; none without proxies. */
  readonly inbound: Endpoint | undefined;
  /** Caller's proxy, then the called one's. */
  readonly pids: readonly number[];
  /** The last words of its proxies, for when requests fail. */
  readonly told?: () => string;
}

const PORT = 8080;
const SERVICE = `${CALLED}.shop:80`;

export interface WeftPairOptions {
  readonly lab: Lab;
  readonly appAddress: string;
  /** Of the Service, says the protocol; default `http`. */
  readonly portName?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface WeftPair extends Pair {
  readonly sidecars: readonly LabSidecar[];
}

export async function startWeftPair(options: WeftPairOptions): Promise<WeftPair> {
  const { lab, appAddress, portName = 'http', env = {} } = options;
  const called = await lab.startSidecar({
    pod: `${CALLED}-0`,
    inbound: { [PORT]: appAddress },
    service: [{ name: portName, port: 80, targetPort: PORT }],
    env,
  });
  const caller = await lab.startSidecar({ pod: `${CALLER}-0`, outbound: [SERVICE], env });
  return {
    name: 'weft',
    front: splitAddress(caller.via(SERVICE)),
    inbound: splitAddress(called.front(PORT)),
    pids: [caller.daemon.pid, called.daemon.pid],
    sidecars: [caller, called],
    told: () => `${caller.daemon.tail()}\n${called.daemon.tail()}`,
    // They end with their lab.
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

export async function startEnvoyPair(options: {
  readonly binary: string;
  readonly folder: string;
  readonly identities: Identities;
  readonly appAddress: string;
  /** RBAC of the called side; default: the two policies of every pair. */
  readonly rules?: readonly PlainMessage[];
  /** HTTP/2 on every hop; default: HTTP/1.1. */
  readonly isHttp2?: boolean;
}): Promise<Pair> {
  const { binary, folder, identities, appAddress, rules = rulesOf(POLICY) } = options;
  const { isHttp2 = false } = options;
  const { bundlePem } = identities;
  await using stack = new AsyncDisposableStack();
  const inbound = await freeEndpoint();
  const called = credentialOf(identities, CALLED);
  const calledAdmin = await freeEndpoint();
  const calledHalf = { admin: calledAdmin, listen: inbound, own: called, bundlePem, isHttp2 };
  const config = inboundConfig({ ...calledHalf, upstream: splitAddress(appAddress) }, rules);
  const second = stack.use(
    await startEnvoy({ binary, name: CALLED, folder, admin: calledAdmin, config }),
  );
  const front = await freeEndpoint();
  const callerAdmin = await freeEndpoint();
  const callerHalf = { admin: callerAdmin, listen: front, upstream: inbound, bundlePem, isHttp2 };
  const own = credentialOf(identities, CALLER);
  const first = stack.use(
    await startEnvoy({
      binary,
      name: CALLER,
      folder,
      admin: callerAdmin,
      config: outboundConfig({ ...callerHalf, own }, called.spiffeId),
    }),
  );
  const owned = stack.move();
  return {
    name: 'envoy',
    front,
    inbound,
    pids: [first.pid, second.pid],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export const noProxy = (appAddress: string): Pair => ({
  name: 'direct',
  front: splitAddress(appAddress),
  inbound: undefined,
  pids: [],
  [Symbol.asyncDispose]: () => Promise.resolve(),
});
