// Keeps the node's rules and names of Services up with the cluster: what kube-proxy and the cluster's DNS know.
import type { KubeClient, KubeObject } from '@weft/kube/kube-api';
import { ENDPOINT_SLICES, SERVICES } from '@weft/kube/resource';
import { startObjectCache } from './object-cache.ts';
import type { NodeNetwork } from './network.ts';
import { run } from './run-command.ts';
import { SERVICE_CHAINS, serviceKeyOf, serviceRules, type Slice } from './service-rules.ts';

export interface ServiceProxy extends AsyncDisposable {
  service(namespace: string, name: string): KubeObject | undefined;
  slices(namespace: string, name: string): readonly Slice[];
  retryNow(): void;
}

export interface ServiceProxyOptions {
  readonly client: KubeClient;
  readonly network: NodeNetwork;
  readonly onProblem: (text: string) => void;
}

/** Changes that come together are one step. */
const GATHER_MS = 10;
const RETRY_MS = 500;

/** Hairpins first of all: what a Pod sends to itself is not what the node sends. */
const hooks = (): string => {
  const { services, hairpin, noEndpoints } = SERVICE_CHAINS;
  return `*nat
:${services} - [0:0]
:${hairpin} - [0:0]
-A PREROUTING -j ${services}
-A OUTPUT -j ${services}
-I POSTROUTING -j ${hairpin}
COMMIT
*filter
:${noEndpoints} - [0:0]
-A FORWARD -j ${noEndpoints}
-A OUTPUT -j ${noEndpoints}
COMMIT
`;
};

export async function startServiceProxy(options: ServiceProxyOptions): Promise<ServiceProxy> {
  const { client, network, onProblem } = options;
  const restore = (rules: string): Promise<string> =>
    run([...network.enter, 'iptables-restore', '--noflush'], rules);
  await restore(hooks());
  let timer: NodeJS.Timeout | undefined;
  let applied = '';
  let applying: Promise<void> | undefined;
  let slicesByService: ReadonlyMap<string, readonly Slice[]> = new Map();
  const apply = async (): Promise<void> => {
    const rules = serviceRules(services.all(), slicesByService);
    if (rules === applied) return;
    try {
      await restore(rules);
      applied = rules;
    } catch (error) {
      onProblem(String(error));
      later(RETRY_MS);
    }
  };
  const later = (waitMs: number): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      if (applying !== undefined) later(GATHER_MS);
      else applying = apply().finally(() => (applying = undefined));
    }, waitMs).unref();
  };
  const services = startObjectCache({
    client,
    resource: SERVICES,
    onChanged: () => later(GATHER_MS),
  });
  const slices = startObjectCache({
    client,
    resource: ENDPOINT_SLICES,
    onChanged() {
      slicesByService = Map.groupBy(slices.all(), serviceKeyOf);
      later(GATHER_MS);
    },
  });
  return {
    service: (namespace, name) => services.get(namespace, name),
    slices: (namespace, name) => slicesByService.get(`${namespace}/${name}`) ?? [],
    retryNow() {
      services.retryNow();
      slices.retryNow();
    },
    async [Symbol.asyncDispose]() {
      await services[Symbol.asyncDispose]();
      await slices[Symbol.asyncDispose]();
      clearTimeout(timer);
      await applying;
    },
  };
}
