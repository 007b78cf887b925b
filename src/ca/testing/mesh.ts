// A CA with its two gRPC ports on loopback, and workloads that talk to it, for tests.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Client,
  type ClientDuplexStream,
  credentials,
  type MethodDefinition,
  Server,
  type ServiceError,
} from '@grpc/grpc-js';
import { type Clock, systemClock } from '@weft/model/clock';
import { parseTrustDomain } from '@weft/model/identity';
import { bytesOf, messageOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { pino } from 'pino';
import type { Attestor } from '../attest/attestor.ts';
import { joinTokenAttestor } from '../attest/join-token.ts';
import { type Authority, type AuthorityOptions, openAuthority } from '../authority.ts';
import type { EnrolmentLimits } from '../enrolment-limits.ts';
import {
  addEnrolmentService,
  addRenewalService,
  type RenewalService,
} from '../enrolment-service.ts';
import { createJoinToken, openJoinTokens } from '../join-tokens.ts';
import { createServerCredentials } from '../server-credentials.ts';
import { toPem } from '../sign.ts';
import { openFileStore } from '../store/file.ts';
import { addTokenService } from '../token-service.ts';
import { type KeyedRequest, opensslRequest } from './requests.ts';

const DEADLINE_MS = 5_000;
const NAMES = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };

export interface TestMesh extends AsyncDisposable {
  readonly stateDir: string;
  readonly authority: Authority;
  readonly renewal: RenewalService;
  readonly enrolmentPort: number;
  readonly renewalPort: number;
  /** Lines of the CA's log. */
  readonly lines: readonly { readonly [field: string]: unknown }[];
  token(): Promise<string>;
}

export interface TestMeshOptions {
  readonly authority?: Partial<AuthorityOptions>;
  readonly limits?: Partial<EnrolmentLimits>;
  /** Default: join tokens. */
  readonly attestors?: readonly Attestor[];
  /** Of the services alone; the authority's is the real one. */
  readonly clock?: Clock;
}

export async function createTestMesh(options: TestMeshOptions = {}): Promise<TestMesh> {
  const owned = new AsyncDisposableStack();
  const stateDir = await mkdtemp(join(tmpdir(), 'weft-mesh-'));
  owned.defer(() => rm(stateDir, { recursive: true }));
  const lines: { readonly [field: string]: unknown }[] = [];
  const log = pino({ level: 'debug' }, { write: (line) => lines.push(JSON.parse(line)) });
  const trustDomain = parseTrustDomain('mesh.test');
  if (trustDomain === undefined) throw new RangeError('Cannot make a mesh: no trust domain');
  const store = owned.use(await openFileStore({ stateDir }));
  const authority = owned.use(
    await openAuthority({ store, trustDomain, log, ...options.authority }),
  );
  const { limits = {}, clock = systemClock } = options;
  const { attestors = [joinTokenAttestor(await openJoinTokens({ stateDir }))] } = options;

  const listen = async (mode: 'server-auth' | 'mutual', server: Server): Promise<number> => {
    const creds = owned.use(createServerCredentials({ mode, authority, ...NAMES }));
    owned.defer(() => server.forceShutdown());
    return new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', creds.credentials, (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  };
  const enrolmentServer = new Server();
  addEnrolmentService(enrolmentServer, { authority, attestors, log, limits, clock });
  const renewalServer = new Server();
  const renewal = addRenewalService(renewalServer, { authority, limits, clock });
  addTokenService(renewalServer, { authority, clock, log });
  const enrolmentPort = await listen('server-auth', enrolmentServer);
  const renewalPort = await listen('mutual', renewalServer);
  owned.use(renewal);
  return {
    stateDir,
    authority,
    renewal,
    enrolmentPort,
    renewalPort,
    lines,
    async token() {
      const made = await createJoinToken({ stateDir, namespace: 'shop', serviceAccount: 'web' });
      return made.token;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const methods = serviceDefinition('weft.enrolment.v1.Enrolment');

/** @throws ServiceError */
export async function enrol(
  mesh: TestMesh,
  request: PlainMessage,
  bundlePem = mesh.authority.bundle().pem,
): Promise<PlainMessage> {
  const client = new Client(
    `localhost:${mesh.enrolmentPort}`,
    credentials.createSsl(Buffer.from(bundlePem)),
  );
  const { Enrol } = methods;
  if (Enrol === undefined) throw new TypeError('Cannot enrol: no such method');
  return askOnce(client, Enrol, request);
}

/** @throws ServiceError */
const ask = (
  client: Client,
  method: MethodDefinition<object, object>,
  request: PlainMessage,
): Promise<PlainMessage> =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      { deadline: Date.now() + DEADLINE_MS },
      (error, response) => (error === null ? resolve({ ...response }) : reject(error)),
    );
  });

/** The client is closed with its answer. @throws ServiceError */
async function askOnce(
  client: Client,
  method: MethodDefinition<object, object>,
  request: PlainMessage,
): Promise<PlainMessage> {
  try {
    return await ask(client, method, request);
  } finally {
    client.close();
  }
}

export interface TestWorkload {
  readonly keyed: KeyedRequest;
  readonly chainPem: string;
}

export function chainOf(svid: PlainMessage | undefined): readonly Uint8Array[] {
  const chain = svid?.['certificate_chain_der'];
  return Array.isArray(chain) ? chain.filter((der) => der instanceof Uint8Array) : [];
}

export async function enrolledWorkload(mesh: TestMesh): Promise<TestWorkload> {
  const keyed = opensslRequest();
  const join_token = await mesh.token();
  const response = await enrol(mesh, { csr_der: keyed.csrDer, join_token });
  return { keyed, chainPem: chainOf(messageOf(response, 'svid')).map(toPem).join('') };
}

type Asked = 'IssueToken' | 'GetTokenKeys';

/** Asks at the mutual port for what is answered with one message, over a connection of its own. @throws ServiceError */
export async function askMutual(
  mesh: TestMesh,
  name: Asked,
  request: PlainMessage,
  workload?: TestWorkload,
): Promise<PlainMessage> {
  using asker = openMutual(mesh, workload);
  return await asker.ask(name, request);
}

export interface MutualAsker extends Disposable {
  /** @throws ServiceError */
  ask(name: Asked, request: PlainMessage): Promise<PlainMessage>;
}

/** One connection to the mutual port, for many questions. */
export function openMutual(mesh: TestMesh, workload?: TestWorkload): MutualAsker {
  const identity =
    workload === undefined
      ? []
      : [Buffer.from(workload.keyed.keyPem), Buffer.from(workload.chainPem)];
  const client = new Client(
    `localhost:${mesh.renewalPort}`,
    credentials.createSsl(Buffer.from(mesh.authority.bundle().pem), ...identity),
  );
  return {
    async ask(name, request) {
      const method = methods[name];
      if (method === undefined) throw new TypeError(`Cannot ask: no method ${name}`);
      return ask(client, method, request);
    },
    [Symbol.dispose]: () => client.close(),
  };
}

export interface TestStream extends Disposable {
  send(message: PlainMessage): void;
  /** The next message. @throws ServiceError when the stream ends instead. */
  next(): Promise<PlainMessage>;
}

export function openRenewal(mesh: TestMesh, workload?: TestWorkload): TestStream {
  const identity =
    workload === undefined
      ? []
      : [Buffer.from(workload.keyed.keyPem), Buffer.from(workload.chainPem)];
  const client = new Client(
    `localhost:${mesh.renewalPort}`,
    credentials.createSsl(Buffer.from(mesh.authority.bundle().pem), ...identity),
  );
  const { Renew } = methods;
  if (Renew === undefined) throw new TypeError('Cannot renew: no such method');
  const call: ClientDuplexStream<object, object> = client.makeBidiStreamRequest(
    Renew.path,
    Renew.requestSerialize,
    Renew.responseDeserialize,
  );
  const received: PlainMessage[] = [];
  let failure: ServiceError | undefined;
  const changed = new EventTarget();
  call.on('data', (message: PlainMessage) => {
    received.push(message);
    changed.dispatchEvent(new Event('change'));
  });
  call.on('error', (error: ServiceError) => {
    failure = error;
    changed.dispatchEvent(new Event('change'));
  });
  return {
    send: (message) => void call.write(message),
    async next() {
      for (;;) {
        const message = received.shift();
        if (message !== undefined) return message;
        if (failure !== undefined) throw failure;
        await once(changed, 'change', { signal: AbortSignal.timeout(DEADLINE_MS) });
      }
    },
    [Symbol.dispose]: () => {
      call.cancel();
      client.close();
    },
  };
}

export const versionOf = (message: PlainMessage): string =>
  String(messageOf(message, 'bundle')?.['version']);

export const leafOf = (message: PlainMessage): Uint8Array =>
  chainOf(messageOf(message, 'svid'))[0] ?? bytesOf(message, 'none');
