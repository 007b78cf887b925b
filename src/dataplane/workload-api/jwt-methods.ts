// The methods of the Workload API that are about JWT SVIDs: a token for an audience, the keys, and a token's judgement.
import type { Clock } from '@weft/model/clock';
import type { SpiffeId, TrustDomain } from '@weft/model/identity';
import { textOf, textsOf } from '@weft/xds/protocol/fields';
import { decodeMessage, encodeMessage, type PlainMessage } from '@weft/xds/registry';
import type { Logger } from 'pino';
import { STATUS } from '../control-plane/grpc/status.ts';
import type { ApiCall } from './api-call.ts';
import { type Method, Refused } from './api-server.ts';
import { judgeByItsKeys, type TokenJudgement } from './judge-token.ts';
import type { WorkloadApiMetrics } from './metrics.ts';
import { structOf } from './struct.ts';
import type { TokenClient, TokenKeySets } from './token-client.ts';

export interface JwtMethodsOptions {
  readonly tokens: TokenClient;
  /** Whom a token is of; absent as long as there is no certificate. */
  readonly spiffeId: () => SpiffeId | undefined;
  readonly trustDomain: TrustDomain;
  readonly metrics: WorkloadApiMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

const SERVICE = '/SpiffeWorkloadAPI';

export const jwtMethods = (options: JwtMethodsOptions): readonly (readonly [string, Method])[] => [
  [
    `${SERVICE}/FetchJWTSVID`,
    (call, request, caller) => fetchToken(options, call, read('JWTSVIDRequest', request), caller),
  ],
  [`${SERVICE}/FetchJWTBundles`, (call) => followKeys(options, call)],
  [
    `${SERVICE}/ValidateJWTSVID`,
    (call, request) => validate(options, call, read('ValidateJWTSVIDRequest', request)),
  ],
];

const badRequest = (details: string): Refused =>
  new Refused('bad-request', STATUS.INVALID_ARGUMENT, details);

function read(type: string, bytes: Buffer): PlainMessage {
  try {
    return decodeMessage(type, bytes);
  } catch (error) {
    if (error instanceof Error) throw badRequest(`not a ${type}`);
    throw error;
  }
}

async function fetchToken(
  { tokens, spiffeId: own, metrics, log }: JwtMethodsOptions,
  call: ApiCall,
  request: PlainMessage,
  caller: string,
): Promise<void> {
  const audience = textsOf(request, 'audience');
  if (audience.length === 0) throw badRequest('say for which audience the token is');
  const spiffeId = own();
  if (spiffeId === undefined) {
    throw new Refused('no-identity', STATUS.UNAVAILABLE, 'there is no certificate yet');
  }
  const wanted = textOf(request, 'spiffe_id');
  if (wanted !== '' && wanted !== spiffeId) {
    const details = 'that is not the identity of this workload';
    throw new Refused('no-identity', STATUS.PERMISSION_DENIED, details);
  }
  const svid = await tokens.token(audience);
  call.answer(encodeMessage('JWTSVIDResponse', { svids: [{ spiffe_id: spiffeId, svid }] }));
  metrics.handed('jwt-svid');
  log.info({ what: 'jwt-svid', receiver: caller, spiffeId, audience }, 'handed over');
}

async function followKeys(options: JwtMethodsOptions, call: ApiCall): Promise<void> {
  const { tokens, trustDomain, metrics } = options;
  const tell = ({ own, federated }: TokenKeySets): void => {
    const others = [...federated].map(([name, jwks]) => [`spiffe://${name}`, Buffer.from(jwks)]);
    const bundles = {
      ...Object.fromEntries(others),
      [`spiffe://${trustDomain}`]: Buffer.from(own),
    };
    call.sendLatest(encodeMessage('JWTBundlesResponse', { bundles }));
    metrics.handed('jwt-bundles');
  };
  const first = await tokens.keys();
  if (call.isOver) return;
  const subscription = tokens.onKeys(tell);
  call.onClose(() => subscription[Symbol.dispose]());
  tell(first);
}

async function validate(
  options: JwtMethodsOptions,
  call: ApiCall,
  request: PlainMessage,
): Promise<void> {
  const token = textOf(request, 'svid');
  const audience = textOf(request, 'audience');
  if (token === '' || audience === '') throw badRequest('audience and svid are needed');
  const judgement = await judge(options, token, audience);
  if (!judgement.ok) throw badRequest(judgement.reason);
  const { spiffeId, claims } = judgement;
  const answer = { spiffe_id: spiffeId, claims: structOf(claims) };
  call.answer(encodeMessage('ValidateJWTSVIDResponse', answer));
}

/** A key that nobody has heard of may be a new one. */
async function judge(
  { tokens, trustDomain, clock }: JwtMethodsOptions,
  token: string,
  audience: string,
): Promise<TokenJudgement> {
  const by = (keys: TokenKeySets): Promise<TokenJudgement> =>
    judgeByItsKeys(token, keys, { audience, trustDomain, nowMs: clock.now() });
  const first = await by(await tokens.keys());
  if (first.ok || !first.isUnknownKey) return first;
  const newer = await tokens.keysAgain();
  return newer === undefined ? first : by(newer);
}
