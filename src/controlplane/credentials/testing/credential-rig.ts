// A control plane's part in credentials behind a real gRPC server, over a mesh of objects and a source in memory, for tests.
import { Client, credentials, Server, ServerCredentials, type status } from '@grpc/grpc-js';
import type { Peer } from '@weft/ca/server-credentials';
import { type Clock, systemClock } from '@weft/model/clock';
import type { SpiffeId } from '@weft/model/identity';
import type { CredentialBindingObject, RegistryObject } from '@weft/model/mesh/objects';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { pino } from 'pino';
import { eventually } from '../../../../test/support/lab-wait.ts';
import { idOf, MeshBench, SHOP } from '../../../../test/support/mesh-bench.ts';
import type { MeshViews } from '../../compile/mesh-views.ts';
import { readCredentialBinding } from '../../registry/read-credential-binding.ts';
import { CredentialPart } from '../credential-part.ts';
import type { CredentialSource, OnReading, SourceReading } from '../sources/source.ts';

/** Places are `NAMESPACE/NAME`, as of Secrets. */
export interface MemorySource extends CredentialSource {
  put(place: string, version: string, values: Readonly<Record<string, string>>): void;
  say(place: string, reading: SourceReading): void;
  /** Places that are followed. */
  readonly followed: readonly string[];
}

export function createMemorySource(): MemorySource {
  const readings = new Map<string, SourceReading>();
  const listeners = new Map<string, Set<OnReading>>();
  const say = (place: string, reading: SourceReading): void => {
    readings.set(place, reading);
    for (const listener of listeners.get(place) ?? []) listener(reading);
  };
  return {
    description: 'memory',
    say,
    put: (place, version, values) =>
      say(place, {
        kind: 'values',
        version,
        values: new Map(Object.entries(values).map(([key, text]) => [key, Buffer.from(text)])),
      }),
    get followed() {
      return [...listeners].filter(([, own]) => own.size > 0).map(([place]) => place);
    },
    follow(place, onReading) {
      const own = listeners.get(place) ?? new Set<OnReading>();
      listeners.set(place, own.add(onReading));
      const known = readings.get(place);
      if (known !== undefined) queueMicrotask(() => own.has(onReading) && onReading(known));
      return { [Symbol.dispose]: () => void own.delete(onReading) };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

export function bindingOf(spec: object, name = 'web', namespace = 'shop'): CredentialBindingObject {
  const reading = readCredentialBinding({
    apiVersion: 'security.weft.dev/v1',
    kind: 'CredentialBinding',
    metadata: { name, namespace },
    spec,
  });
  const [object] = reading.kind === 'good' ? reading.objects : [];
  if (object?.kind !== 'CredentialBinding') throw new Error(JSON.stringify(reading));
  return object;
}

/** Grants `db` of Secret `db` to service account `web`. */
export const DB = bindingOf({
  serviceAccounts: ['web'],
  credentials: [{ name: 'db', source: { secret: { name: 'db' } }, ways: ['url', 'files'] }],
});

/** What a proxy was told, and how its stream ended. */
export interface Watching {
  readonly replies: readonly PlainMessage[];
  /** Values by credential and key, as they stand after all replies. */
  readonly held: ReadonlyMap<string, Readonly<Record<string, string>>>;
  readonly versions: ReadonlyMap<string, string>;
  send(request: PlainMessage): void;
  until(isSo: (watching: Watching) => boolean, what: string): Promise<void>;
  ended(): Promise<{ readonly code: status; readonly details: string }>;
  close(): void;
  breakOff(): void;
}

export interface CredentialServer extends AsyncDisposable {
  readonly part: CredentialPart;
  /** Everything that was logged. */
  readonly logged: readonly string[];
  /** @param account of namespace shop, whose certificate it shows */
  watch(account: string, first?: PlainMessage): Watching;
}

export interface CredentialRig extends CredentialServer {
  readonly bench: MeshBench;
  readonly source: MemorySource;
  change(objects: readonly RegistryObject[]): void;
}

export interface RigOptions {
  readonly clock?: Clock;
  readonly notAfterUnixSeconds?: number;
  readonly hasNoCertificate?: boolean;
  /** In force at other control planes, whichever the proxy. */
  readonly elsewhere?: readonly (readonly string[])[];
}

export async function createCredentialRig(
  objects: readonly RegistryObject[] = [...SHOP, DB],
  options: RigOptions = {},
): Promise<CredentialRig> {
  await using stack = new AsyncDisposableStack();
  const bench = stack.use(new MeshBench(objects));
  const source = createMemorySource();
  const server = stack.use(await startCredentialServer(bench.views, source, options));
  const owned = stack.move();
  return {
    ...server,
    bench,
    source,
    change(next) {
      bench.change(next);
      bench.elapse();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Serves what the views' bindings grant, of these Secrets, without TLS: whose certificate is shown is the test's to say. */
export async function startCredentialServer(
  views: MeshViews,
  secrets: CredentialSource,
  options: RigOptions = {},
): Promise<CredentialServer> {
  const { clock = systemClock, notAfterUnixSeconds = 4_000_000_000 } = options;
  await using stack = new AsyncDisposableStack();
  const logged: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
  const server = new Server();
  const identityOf = (account: string): SpiffeId =>
    idOf(`spiffe://cluster.local/ns/shop/sa/${account}`);
  let connecting = identityOf('web');
  const peerOf = (): Peer =>
    options.hasNoCertificate === true
      ? { ok: false, reason: 'the connection has no verified certificate' }
      : {
          ok: true,
          identity: connecting,
          issuerKeyId: undefined,
          serial: '1',
          notAfterUnixSeconds,
        };
  const part = stack.use(
    new CredentialPart({
      server,
      peerOf,
      views,
      configs: [],
      secrets: async () => secrets,
      elsewhere: () => options.elsewhere ?? [],
      clock,
      log,
    }),
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  stack.defer(() => server.forceShutdown());
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  stack.defer(() => client.close());
  const owned = stack.move();
  return {
    part,
    logged,
    watch(account, first) {
      connecting = identityOf(account);
      return openWatch(client, first ?? { node_id: `${account}-1.shop` });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function openWatch(client: Client, first: PlainMessage): Watching {
  const method = serviceDefinition('weft.credentials.v1.Credentials')['Watch'];
  if (method === undefined) throw new Error('there is no Watch');
  const stream = client.makeBidiStreamRequest<PlainMessage, PlainMessage>(
    method.path,
    method.requestSerialize,
    (bytes) => ({ ...method.responseDeserialize(bytes) }),
  );
  const replies: PlainMessage[] = [];
  const held = new Map<string, Readonly<Record<string, string>>>();
  const versions = new Map<string, string>();
  // The status says the same.
  stream.on('error', () => undefined);
  stream.on('data', (reply: PlainMessage) => {
    replies.push(reply);
    for (const name of (reply['removed'] ?? []) as readonly string[]) {
      held.delete(name);
      versions.delete(name);
    }
    for (const credential of (reply['credentials'] ?? []) as readonly PlainMessage[]) {
      const name = String(credential['name']);
      const values = Object.entries((credential['values'] ?? {}) as Record<string, Uint8Array>);
      held.set(
        name,
        Object.fromEntries(values.map(([key, value]) => [key, Buffer.from(value).toString()])),
      );
      versions.set(name, String(credential['version']));
    }
  });
  const end = new Promise<{ readonly code: status; readonly details: string }>((resolve) => {
    stream.on('status', resolve);
  });
  stream.write(first);
  const watching: Watching = {
    replies,
    held,
    versions,
    send: (request) => void stream.write(request),
    async until(isSo, what) {
      await eventually(() => isSo(watching), { what });
    },
    ended: () => end,
    close: () => stream.end(),
    breakOff: () => stream.cancel(),
  };
  return watching;
}
