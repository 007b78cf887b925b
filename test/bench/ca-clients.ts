// Fake sidecars that ask a CA for certificates, in a process of their own: keys, connections and checks as a sidecar makes them.
import type { Client, ClientDuplexStream } from '@grpc/grpc-js';
import { openGrpcJsChannel } from '../support/grpc-js-channel.ts';
import {
  checkSvid,
  readBundle,
  type Svid,
  type TrustBundle,
} from '@weft/dataplane/enrol/check-svid';
import { createKeyAndRequest, type KeyAndRequest } from '@weft/dataplane/enrol/csr';
import {
  parseSpiffeId,
  parseTrustDomain,
  type SpiffeId,
  type TrustDomain,
} from '@weft/model/identity';
import { messageOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import {
  type Answered,
  CA_NAMESPACE,
  type FromClients,
  type ToClients,
  type Where,
} from './ca-messages.ts';
import { TRUST_DOMAIN } from './identities.ts';
import { quantile } from './statistics.ts';

const SERVICE = 'weft.enrolment.v1.Enrolment';
/** Taken in turn by all but a mass start: making one is the sidecar's cost, not the CA's. */
const KEYS = 64;
/** A sidecar waits 10 s, but a thousand of them do not share one core. */
const ENROL_MS = 120_000;

const tell = (message: FromClients): void => void process.send?.(message);

function ourDomain(): TrustDomain {
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  if (trustDomain === undefined) throw new TypeError(`Cannot read ${TRUST_DOMAIN}: no domain`);
  return trustDomain;
}

function controlPlaneOf({ controlPlaneId }: Where): SpiffeId {
  const id = parseSpiffeId(controlPlaneId);
  if (id === undefined) throw new TypeError(`Cannot connect: ${controlPlaneId} is no SPIFFE id`);
  return id;
}

type Enrolled =
  | { readonly ok: true; readonly svid: Svid }
  | { readonly ok: false; readonly reason: string };

/** As a sidecar does it, but that it waits longer for its turn and brings its key along. */
async function enrol(where: Where, token: string, key: KeyAndRequest): Promise<Enrolled> {
  const { enrolment: address, bundlePem } = where;
  const method = serviceDefinition(SERVICE)['Enrol'];
  if (method === undefined) throw new TypeError(`Cannot find Enrol of ${SERVICE}`);
  const client = openGrpcJsChannel({ address, bundlePem, controlPlane: controlPlaneOf(where) });
  const { promise, resolve, reject } = Promise.withResolvers<PlainMessage>();
  client.makeUnaryRequest<PlainMessage, PlainMessage>(
    method.path,
    method.requestSerialize,
    (bytes) => ({ ...method.responseDeserialize(bytes) }),
    { csr_der: key.csrDer, join_token: token },
    { deadline: Date.now() + ENROL_MS },
    (error, answer) => (error === null ? resolve(answer ?? {}) : reject(error)),
  );
  try {
    const response = await promise;
    const bundle = readBundle(messageOf(response, 'bundle'));
    return checkSvid(messageOf(response, 'svid'), key, {
      bundlePem: bundle?.pem ?? '',
      roots: bundle?.roots ?? [],
      expected: { trustDomain: ourDomain(), namespace: CA_NAMESPACE, spiffeId: undefined },
      nowMs: Date.now(),
    });
  } catch (error) {
    return { ok: false, reason: String(error) };
  } finally {
    client.close();
  }
}

async function enrolled(where: Where, token: string, key: KeyAndRequest): Promise<Svid> {
  const outcome = await enrol(where, token, key);
  if (outcome.ok) return outcome.svid;
  throw new Error(`Cannot enrol: ${outcome.reason}`);
}

/** A stream on which one request at a time is in flight. */
class Renewals implements Disposable {
  readonly #client: Client;
  readonly #call: ClientDuplexStream<PlainMessage, object>;
  readonly #own: Svid;
  readonly #first = Promise.withResolvers<void>();
  #waiting: PromiseWithResolvers<PlainMessage> | undefined;
  #bundle: TrustBundle | undefined;

  constructor(where: Where, own: Svid) {
    this.#own = own;
    const method = serviceDefinition(SERVICE)['Renew'];
    if (method === undefined) throw new TypeError('Cannot renew: no such method');
    const controlPlane = controlPlaneOf(where);
    this.#client = openGrpcJsChannel({
      address: where.renewal,
      bundlePem: own.bundlePem,
      controlPlane,
      own,
    });
    this.#call = this.#client.makeBidiStreamRequest<PlainMessage, object>(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
    );
    this.#call.on('data', (message: PlainMessage) => this.#take(message));
    this.#call.on('error', (error: Error) => {
      this.#first.reject(error);
      this.#waiting?.reject(error);
    });
    this.#first.promise.catch(() => {});
  }

  /** Settles when the bundle has come and has been acknowledged. */
  get opened(): Promise<void> {
    return this.#first.promise;
  }

  #take(message: PlainMessage): void {
    const bundle = messageOf(message, 'bundle');
    if (bundle !== undefined) {
      this.#bundle = readBundle(bundle);
      this.#call.write({ bundle_ack: this.#bundle?.version ?? '' });
      this.#first.resolve();
      return;
    }
    const svid = messageOf(message, 'svid');
    if (svid !== undefined) this.#waiting?.resolve(svid);
  }

  /** @returns the certificate as it came. */
  renew(key: KeyAndRequest): Promise<PlainMessage> {
    this.#waiting = Promise.withResolvers();
    this.#call.write({ csr_der: key.csrDer });
    return this.#waiting.promise;
  }

  /** @throws Error when it is not what was asked for. */
  check(svid: PlainMessage, key: KeyAndRequest): void {
    const { bundlePem, spiffeId } = this.#own;
    const check = checkSvid(svid, key, {
      bundlePem,
      roots: this.#bundle?.roots ?? [],
      expected: { trustDomain: ourDomain(), namespace: CA_NAMESPACE, spiffeId },
      nowMs: Date.now(),
    });
    if (!check.ok) throw new Error(`Cannot renew: ${check.reason}`);
  }

  [Symbol.dispose](): void {
    this.#call.on('error', () => {});
    this.#call.cancel();
    this.#client.close();
  }
}

const streams: Renewals[] = [];
const keys: KeyAndRequest[] = [];
let turn = 0;

async function nextKey(): Promise<KeyAndRequest> {
  const key = keys.length < KEYS ? await createKeyAndRequest() : keys[turn++ % KEYS];
  if (key === undefined) throw new RangeError('Cannot find a key');
  if (keys.length < KEYS) keys.push(key);
  return key;
}

/** Repeats a step on each lane, one after the other, until the time is up. */
async function repeat(
  lanes: number,
  durationMs: number,
  step: (lane: number) => Promise<void>,
): Promise<Answered> {
  const tookMs: number[] = [];
  const from = performance.now();
  const until = from + durationMs;
  await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      for (let at = performance.now(); at < until; ) {
        await step(lane);
        const now = performance.now();
        tookMs.push(now - at);
        at = now;
      }
    }),
  );
  return answeredOf(tookMs, performance.now() - from);
}

function answeredOf(tookMs: readonly number[], elapsedMs: number): Answered {
  const sorted = tookMs.toSorted((a, b) => a - b);
  const [p50Ms, p99Ms] = [quantile(sorted, 0.5), quantile(sorted, 0.99)];
  return { kind: 'answered', answers: tookMs.length, elapsedMs, p50Ms, p99Ms };
}

async function open(where: Where, count: number): Promise<void> {
  for (const stream of streams.splice(0)) stream[Symbol.dispose]();
  for (let at = 0; at < count; at++) {
    const stream = new Renewals(where, await enrolled(where, 'benchmark', await nextKey()));
    streams.push(stream);
    await stream.opened;
    const key = await nextKey();
    stream.check(await stream.renew(key), key);
  }
}

const renewAll = (durationMs: number): Promise<Answered> =>
  repeat(streams.length, durationMs, async (lane) => {
    await streams[lane]?.renew(await nextKey());
  });

async function startAll(where: Where, tokens: readonly string[]): Promise<Answered> {
  const members: { readonly token: string; readonly key: KeyAndRequest }[] = [];
  for (const token of tokens) members.push({ token, key: await createKeyAndRequest() });
  const from = performance.now();
  const tookMs = await Promise.all(
    members.map(async ({ token, key }) => {
      const stream = new Renewals(where, await enrolled(where, token, key));
      streams.push(stream);
      await stream.opened;
      return performance.now() - from;
    }),
  );
  return answeredOf(tookMs, performance.now() - from);
}

async function answer(message: ToClients): Promise<FromClients> {
  switch (message.kind) {
    case 'enrol':
      return await repeat(message.atOnce, message.durationMs, async () => {
        await enrolled(message.where, 'benchmark', await nextKey());
      });
    case 'open':
      await open(message.where, message.streams);
      return { kind: 'opened' };
    case 'renew':
      return await renewAll(message.durationMs);
    case 'start-all':
      return await startAll(message.where, message.tokens);
    case 'refused': {
      const outcome = await enrol(message.where, message.token, await nextKey());
      return { kind: 'refusal', reason: outcome.ok ? undefined : outcome.reason };
    }
    default:
      return message satisfies never;
  }
}

if (import.meta.main) {
  process.on('message', (message: ToClients) => {
    answer(message).then(tell, (error: unknown) => tell({ kind: 'failed', reason: String(error) }));
  });
  process.on('disconnect', () => process.exit(0));
  tell({ kind: 'started' });
}
