// Finds the API server and the credentials for it, as kubectl does: kubeconfig, or the Pod's own service account.
import type { OutgoingHttpHeaders } from 'node:http';
import { Agent, type RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';

export interface CredentialedOptions extends Omit<RequestOptions, 'headers'> {
  readonly headers: OutgoingHttpHeaders;
}

export interface Connection extends Disposable {
  readonly server: string;
  /** TLS material and credentials as they are now: a token file is read again when it is older than a minute. */
  requestOptions(use?: 'request' | 'watch'): Promise<CredentialedOptions>;
}

export interface ConnectOptions {
  /** Absent: `KUBECONFIG`, `~/.kube/config`, or inside a Pod its service account. */
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** 30 s: a peer that has gone is found before a watch has been silent for long. */
const KEEP_ALIVE_MS = 30_000;
/** Requests at once; watches come on top, each with a connection of its own. */
const MAX_SOCKETS = 64;

/** @throws Error when there is no kubeconfig, or none that names a cluster. */
export function connect(options: ConnectOptions = {}): Connection {
  const config = new KubeConfig();
  const { kubeconfig, context } = options;
  try {
    if (kubeconfig !== undefined) config.loadFromFile(kubeconfig);
    else config.loadFromDefault();
    if (context !== undefined) config.setCurrentContext(context);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot read the kubeconfig${kubeconfig ? ` ${kubeconfig}` : ''}: ${why}`, {
      cause,
    });
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new Error(
      'Cannot find a Kubernetes cluster: give --kubeconfig, set KUBECONFIG, or run inside a Pod',
    );
  }
  const alive = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS };
  const agent = new Agent({ ...alive, maxSockets: MAX_SOCKETS });
  const watchAgent = new Agent(alive);
  return {
    server: cluster.server,
    async requestOptions(use = 'request') {
      const made = { headers: {} };
      await config.applyToHTTPSOptions(made);
      // Behind a proxy the client library's own agent knows the way.
      if (cluster.proxyUrl !== undefined) return made;
      return { ...made, agent: use === 'watch' ? watchAgent : agent };
    },
    [Symbol.dispose]: () => {
      agent.destroy();
      watchAgent.destroy();
    },
  };
}
