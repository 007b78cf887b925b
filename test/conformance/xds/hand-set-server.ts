// Stands up the product's own xDS server around resources set by hand: plaintext on loopback, for tests and outside harnesses.
import { once } from 'node:events';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { AdsServer } from '@weft/controlplane/serve/ads-server';
import { DEFAULT_XDS_LIMITS, serverOptions } from '@weft/controlplane/serve/limits';
import { listenOn } from '@weft/controlplane/serve/listen';
import type { XdsMetrics } from '@weft/controlplane/serve/metrics';
import { type Logger, pino } from 'pino';
import { createControlApi } from './control-api.ts';
import { HandSetViews, IDENTITY } from './hand-set-views.ts';

export interface HandSetServer extends AsyncDisposable {
  readonly views: HandSetViews;
  readonly ads: AdsServer;
  /** `HOST:PORT` of xDS. */
  readonly xds: string;
  /** `http://HOST:PORT` of the API. */
  readonly api: string;
}

/** A harness leaves streams behind, and calls itself by one name in all of them. */
const MANY = DEFAULT_XDS_LIMITS.maxStreams;
const SHUTDOWN_MS = 1_000;

/** @param options.host loopback by default: nobody proves who he is here. */
export async function openHandSetServer(
  options: {
    readonly host?: string;
    readonly xdsPort?: number;
    readonly apiPort?: number;
    readonly log?: Logger;
    readonly metrics?: XdsMetrics;
  } = {},
): Promise<HandSetServer> {
  const { host = '127.0.0.1', log = pino({ level: 'silent' }) } = options;
  await using owned = new AsyncDisposableStack();
  const views = new HandSetViews();
  const server = new Server({ ...serverOptions, 'grpc.max_concurrent_streams': MANY });
  owned.defer(() => shutDown(server));
  const ads = owned.use(
    new AdsServer({
      server,
      peerOf: () => ({ ok: true, identity: IDENTITY }),
      views,
      log,
      ...(options.metrics !== undefined && { metrics: options.metrics }),
      limits: { maxStreamsPerIdentity: MANY, maxStreamsPerProxy: MANY },
    }),
  );
  const port = await bind(server, `${host}:${options.xdsPort ?? 0}`);
  const api = createControlApi({ views, streams: () => ads.sessions() });
  const bound = await listenOn(api, { host, port: options.apiPort ?? 0 });
  owned.defer(async () => {
    const closed = once(api, 'close');
    api.close();
    api.closeAllConnections();
    await closed;
  });
  const moved = owned.move();
  return {
    views,
    ads,
    xds: `${host}:${port}`,
    api: `http://${host}:${bound.port}`,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

const bind = (server: Server, address: string): Promise<number> =>
  new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(new Error(`Cannot listen on ${address}: ${error.message}`, { cause: error }));
    });
  });

/** Streams that were ended get their status; then connections are cut. */
async function shutDown(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const limit = setTimeout(() => {
    server.forceShutdown();
    resolve();
  }, SHUTDOWN_MS);
  server.tryShutdown(() => resolve());
  await promise;
  clearTimeout(limit);
}
