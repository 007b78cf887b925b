// What a proxy that is connected to some control plane enforces, and how control planes say so to each other.
import { parseSpiffeId, type SpiffeId } from '@weft/model/identity';
import { messagesOf, textOf } from '@weft/xds/protocol/fields';
import type { PlainMessage } from '@weft/xds/registry';
import { MAX_CREDENTIALS } from '@weft/model/credentials/types';
import type { CredentialPart } from '../credentials/credential-part.ts';
import type { Evaluation, ReportService } from '../report/report-service.ts';
import { INBOUND_LISTENER } from '../resources/inbound-listener.ts';
import type { AdsServer } from '../serve/ads-server.ts';
import { GRPC_LIBRARIES, type GrpcLibrary } from '../serve/view-source.ts';

export interface ProxyState {
  readonly proxyId: string;
  readonly identity: SpiffeId;
  /** Of the inbound listener; absent when it has acknowledged none. */
  readonly acked: string | undefined;
  /** The version that it refused last, unless it has accepted one since, and what it said. */
  readonly refused?: { readonly version: string; readonly words: string };
  readonly evaluation: Evaluation;
  /** Names of credentials that are in force there as they are now; absent: it watches none here. */
  readonly credentials?: readonly string[];
  /** Libraries by which its own programs serve without a proxy, each once and sorted; absent: none does. */
  readonly grpc?: readonly GrpcLibrary[];
}

/** A name and a digest are far shorter. */
const MAX_TEXT = 512;
/** Report streams of one proxy, and one more. */
const MAX_DIGESTS = 4;

/** Streams of one proxy overlap while it reconnects: the newest one's word counts. */
export function localStates(
  ads: Pick<AdsServer, 'statusOf' | 'grpcServers'>,
  reports: Pick<ReportService, 'evaluationOf'>,
  watched: Pick<CredentialPart, 'inForceAt'>,
): ReadonlyMap<string, ProxyState> {
  const states = new Map<string, ProxyState>();
  const serving = Map.groupBy(ads.grpcServers(), ({ proxyId }) => proxyId);
  for (const status of ads.statusOf('listener', INBOUND_LISTENER)) {
    const { proxyId, identity, acked, refused: version, refusal: words = '' } = status;
    const evaluation = reports.evaluationOf(proxyId, INBOUND_LISTENER);
    const credentials = watched.inForceAt(proxyId);
    const libraries = new Set(serving.get(proxyId)?.map(({ library }) => library));
    states.set(proxyId, {
      proxyId,
      identity,
      acked,
      ...(version !== undefined && { refused: { version, words } }),
      evaluation,
      ...(credentials && { credentials }),
      ...(libraries.size > 0 && { grpc: [...libraries].sort() }),
    });
  }
  return states;
}

export function encodeState(state: ProxyState): PlainMessage {
  const { proxyId, identity, acked, refused, evaluation, credentials, grpc } = state;
  return {
    proxy: proxyId,
    identity,
    acked: acked ?? '',
    ...(refused && { refused: refused.version, refusal: refused.words.slice(0, MAX_TEXT) }),
    is_reporting: evaluation.isReporting,
    digests: evaluation.isReporting ? [...evaluation.digests] : [],
    watches_credentials: credentials !== undefined,
    credentials: [...(credentials ?? [])],
    ...(grpc && { grpc: [...grpc] }),
  };
}

/** @returns `undefined` for one that names nobody. */
function readState(message: PlainMessage): ProxyState | undefined {
  const proxyId = textOf(message, 'proxy');
  const identity = parseSpiffeId(textOf(message, 'identity'));
  if (proxyId === '' || proxyId.length > MAX_TEXT || identity === undefined) return undefined;
  const acked = textOf(message, 'acked').slice(0, MAX_TEXT);
  const version = textOf(message, 'refused').slice(0, MAX_TEXT);
  const words = textOf(message, 'refusal').slice(0, MAX_TEXT);
  const digests = listOfTexts(message['digests'], MAX_DIGESTS);
  const credentials = listOfTexts(message['credentials'], MAX_CREDENTIALS);
  const names = new Set(listOfTexts(message['grpc'], GRPC_LIBRARIES.length));
  const grpc = GRPC_LIBRARIES.filter((library) => names.has(library));
  return {
    proxyId,
    identity,
    acked: acked === '' ? undefined : acked,
    ...(version !== '' && { refused: { version, words } }),
    evaluation:
      message['is_reporting'] === true ? { isReporting: true, digests } : { isReporting: false },
    ...(message['watches_credentials'] === true && { credentials }),
    ...(grpc.length > 0 && { grpc }),
  };
}

function listOfTexts(value: unknown, most: number): readonly string[] {
  if (!Array.isArray(value)) return [];
  return value
    .slice(0, most)
    .map((entry) => (typeof entry === 'string' ? entry.slice(0, MAX_TEXT) : ''));
}

export interface ReplicaReport {
  /** Empty on all but the first report of a stream. */
  readonly replica: string;
  readonly changed: readonly ProxyState[];
  readonly gone: readonly string[];
}

export function readReport(message: PlainMessage): ReplicaReport {
  const gone = message['gone'];
  return {
    replica: textOf(message, 'replica').slice(0, MAX_TEXT),
    changed: messagesOf(message, 'proxies').flatMap((one) => readState(one) ?? []),
    gone: Array.isArray(gone)
      ? gone.filter((name): name is string => typeof name === 'string')
      : [],
  };
}

/** Whether two states say the same. */
export function isSameState(a: ProxyState, b: ProxyState): boolean {
  if (a.acked !== b.acked || a.identity !== b.identity) return false;
  if (a.refused?.version !== b.refused?.version || a.refused?.words !== b.refused?.words)
    return false;
  if (a.credentials?.join() !== b.credentials?.join()) return false;
  if (a.grpc?.join() !== b.grpc?.join()) return false;
  if (!a.evaluation.isReporting || !b.evaluation.isReporting) {
    return a.evaluation.isReporting === b.evaluation.isReporting;
  }
  const others = b.evaluation.digests;
  return (
    a.evaluation.digests.length === others.length &&
    a.evaluation.digests.every((digest, index) => digest === others[index])
  );
}
