// Opens the TCP ports of an agent with an Envoy: admin, metrics, and probes of the kubelet.
import { type AdminServer, createAdminServer } from '../../admin/http-server.ts';
import type { MeshSidecarOptions } from '../../options.ts';
import type { ProbeAnswer } from '../../probe/app-prober.ts';
import { addressText } from '../../serve/ports.ts';
import type { EnvoyAdmin } from './envoy-admin.ts';
import { type AgentState, openHttpPort } from './http-ports.ts';

/** Where it can be reached, as its ready line says it. */
export interface EnvoySidecarAddresses {
  readonly admin: string;
  readonly probes?: string;
  readonly metrics?: string;
}

export interface AgentPortsOptions {
  readonly listen: Pick<MeshSidecarOptions, 'admin' | 'probes' | 'metrics'>;
  readonly envoy: EnvoyAdmin;
  readonly state: AgentState;
  readonly appProbe: (key: string) => Promise<ProbeAnswer> | undefined;
}

export interface AgentPorts extends AsyncDisposable {
  readonly addresses: EnvoySidecarAddresses;
  readonly probes: AdminServer | undefined;
}

const nothing = (): object => ({});

/** @throws Error naming the address and the cure when one cannot be bound; none stays open then. */
export async function openAgentPorts(options: AgentPortsOptions): Promise<AgentPorts> {
  const { listen, envoy, state, appProbe } = options;
  await using making = new AsyncDisposableStack();
  const open = async (role: 'admin' | 'metrics', at: { host: string; port: number }) => {
    const port = making.use(await openHttpPort({ role, ...at, envoy, state }));
    return addressText(port.address);
  };
  const admin = await open('admin', listen.admin);
  const metrics = listen.metrics && (await open('metrics', listen.metrics));
  const probes =
    listen.probes &&
    making.use(
      await createAdminServer({
        role: 'probe',
        ...listen.probes,
        /** Of this role nothing but readiness and probes is asked. */
        state: {
          ...state,
          configDump: nothing,
          clusters: nothing,
          dryRun: nothing,
          denials: nothing,
          appProbe,
        },
      }),
    );
  const owned = making.move();
  return {
    addresses: {
      admin,
      ...(probes && { probes: addressText(probes.address) }),
      ...(metrics !== undefined && { metrics }),
    },
    probes,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
