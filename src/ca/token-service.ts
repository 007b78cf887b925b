// Serves tokens and the keys that they are signed with over gRPC: to whoever the certificate of the connection says it is.
import { type sendUnaryData, type Server, type ServerUnaryCall, status } from '@grpc/grpc-js';
import { type Clock, systemClock } from '@weft/model/clock';
import { textsOf } from '@weft/xds/protocol/fields';
import type { PlainMessage } from '@weft/xds/registry';
import type { Logger } from 'pino';
import { attestPeer } from './attest/certificate.ts';
import type { Authority } from './authority.ts';
import { enrolmentMethod, type Received } from './enrolment-messages.ts';
import { addressOf, createRateLimit, type Rate } from './rate-limit.ts';
import { peerOf } from './server-credentials.ts';
import type { TokenIssuance } from './token-authority.ts';

export interface TokenDeps {
  readonly authority: Authority;
  /** JWK sets of federated trust domains, by name; absent: there are none. */
  readonly federated?: () => ReadonlyMap<string, string>;
  readonly clock?: Clock;
  readonly log?: Logger;
  readonly limits?: { readonly total: Rate; readonly perAddress: Rate };
}

/** Sidecars keep a token for half of its life: more is asked only for many audiences. */
const DEFAULT_LIMITS = {
  total: { burst: 2_000, perSecond: 500 },
  perAddress: { burst: 100, perSecond: 10 },
};

const CODES: Readonly<Record<Extract<TokenIssuance, { ok: false }>['reasonCode'], status>> = {
  'audience-not-allowed': status.INVALID_ARGUMENT,
  'identity-revoked': status.PERMISSION_DENIED,
  'peer-expired': status.UNAUTHENTICATED,
  'no-key': status.UNAVAILABLE,
};

type Call = ServerUnaryCall<Received, PlainMessage>;

type Outcome =
  | { readonly ok: true; readonly response: PlainMessage }
  | { readonly ok: false; readonly code: status; readonly details: string };

/** For a port that requires a client certificate of the current bundle. */
export function addTokenService(server: Server, deps: TokenDeps): void {
  const { authority, clock = systemClock, log, limits = DEFAULT_LIMITS } = deps;
  const rate = createRateLimit({ ...limits, clock });
  const respondWith =
    (answer: (call: Call) => Promise<Outcome>) =>
    (call: Call, respond: sendUnaryData<PlainMessage>): void => {
      const admitted = rate.admits(addressOf(call.getPeer()));
      const limited = { ok: false, code: status.RESOURCE_EXHAUSTED, details: 'too often' } as const;
      if (!admitted) authority.countRefusal('rate-limited');
      (admitted ? answer(call) : Promise.resolve(limited)).then(
        (outcome) => {
          if (outcome.ok) respond(null, outcome.response);
          else respond({ code: outcome.code, details: outcome.details });
        },
        (error: unknown) => {
          log?.error({ err: error, peer: call.getPeer() }, 'token not issued');
          respond({ code: status.INTERNAL, details: 'the control plane failed' });
        },
      );
    };
  server.addService(enrolmentMethod('IssueToken'), {
    IssueToken: respondWith((call) => issue(call, authority)),
  });
  server.addService(enrolmentMethod('GetTokenKeys'), {
    GetTokenKeys: respondWith(async () => {
      const keys = await authority.tokens.freshKeys();
      if (keys !== undefined) {
        const federated = Object.fromEntries(deps.federated?.() ?? []);
        const response = { jwks: JSON.stringify({ keys }), federated_jwks: federated };
        return { ok: true, response };
      }
      const details = 'the keys for tokens cannot be kept';
      return { ok: false, code: status.UNAVAILABLE, details };
    }),
  });
}

/** The certificate alone says who it is for. */
async function issue(call: Call, authority: Authority): Promise<Outcome> {
  const peer = peerOf(call);
  if (!peer.ok) return { ok: false, code: status.UNAUTHENTICATED, details: peer.reason };
  const attested = attestPeer(peer, authority.trustDomain);
  if (!attested.ok) return { ok: false, code: status.UNAUTHENTICATED, details: attested.reason };
  if (!call.request.ok) {
    const details = 'not an IssueTokenRequest, or larger than 16 KiB';
    return { ok: false, code: status.INVALID_ARGUMENT, details };
  }
  const issuance = await authority.tokens.issue({
    identity: attested.identity,
    notAfterMs: peer.notAfterUnixSeconds * 1_000,
    audience: textsOf(call.request.message, 'audience'),
    peer: call.getPeer(),
  });
  if (!issuance.ok)
    return { ok: false, code: CODES[issuance.reasonCode], details: issuance.reason };
  const { token, expiresAtMs } = issuance;
  return { ok: true, response: { token, expires_at_unix_seconds: expiresAtMs / 1_000 } };
}
