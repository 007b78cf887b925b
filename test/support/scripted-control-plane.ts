// A control plane for tests whose answers are written by the test: real TLS and a real CA behind it, on loopback.
import { once } from 'node:events';
import { Server, type ServerDuplexStream, type ServerUnaryCall, type status } from '@grpc/grpc-js';
import { type Authority, type AuthorityOptions, openAuthority } from '@weft/ca/authority';
import { createServerCredentials } from '@weft/ca/server-credentials';
import { createMemoryStore } from '@weft/ca/store/memory';
import { parseTrustDomain, type SpiffeId } from '@weft/model/identity';
import { bytesOf, textOf } from '@weft/xds/protocol/fields';
import { type PlainMessage, serviceDefinition } from '@weft/xds/registry';
import { PATIENCE_MS } from './lab-wait.ts';

const SERVICE = 'weft.enrolment.v1.Enrolment';

export class Refusal extends Error {
  readonly code: status;
  constructor(code: status, details: string) {
    super(details);
    this.code = code;
  }
}

/** One renewal stream that a sidecar opened. */
export interface OpenedStream {
  readonly received: readonly PlainMessage[];
  send(message: PlainMessage): void;
  end(): void;
}

export interface ScriptedControlPlane extends AsyncDisposable {
  readonly authority: Authority;
  readonly controlPlane: SpiffeId;
  readonly address: string;
  readonly renewalAddress: string;
  readonly tokens: readonly string[];
  /** Every EnrolRequest, oldest first. */
  readonly requests: readonly PlainMessage[];
  readonly streams: readonly OpenedStream[];
  /** What Enrol answers next and from then on; throw a Refusal to refuse. */
  onEnrol: (csrDer: Uint8Array) => PlainMessage;
  /** What is answered to a request for renewal; nothing when it says nothing. */
  onRenew: (csrDer: Uint8Array) => PlainMessage | undefined;
  /** The part of an answer that is a certificate. */
  svid(csrDer: Uint8Array, account?: string): PlainMessage;
  bundle(): PlainMessage;
  /** Waits for what the control plane sees. */
  until(claim: () => boolean): Promise<void>;
}

async function listen(server: Server, credentials: ReturnType<typeof createServerCredentials>) {
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials.credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return `127.0.0.1:${port}`;
}

export function issued(authority: Authority, csrDer: Uint8Array, account = 'shop/web') {
  const [namespace = '', serviceAccount = ''] = account.split('/');
  const issuance = authority.issue(csrDer, { namespace, serviceAccount }, 'test', 'test');
  if (!issuance.ok) throw new Error(`Cannot issue: ${issuance.reason}`);
  return {
    certificate_chain_der: issuance.svid.chainDer,
    spiffe_id: issuance.svid.spiffeId,
    not_after_unix_seconds: Math.floor(issuance.svid.notAfter.getTime() / 1_000),
  };
}

export function bundleOf(authority: Authority): PlainMessage {
  const { rootsDer, version } = authority.bundle();
  return { root_der: rootsDer, version };
}

export async function openTestAuthority(
  options: Partial<AuthorityOptions> = {},
): Promise<Authority> {
  const trustDomain = parseTrustDomain('mesh.test');
  if (trustDomain === undefined) throw new RangeError('Cannot open a CA: no trust domain');
  return openAuthority({ store: createMemoryStore(), trustDomain, ...options });
}

export async function openScriptedControlPlane(
  options: {
    readonly authority?: Partial<AuthorityOptions>;
    /** Whose certificates the servers show, when not those of the control plane. */
    readonly serverAuthority?: Authority;
  } = {},
): Promise<ScriptedControlPlane> {
  const owned = new AsyncDisposableStack();
  const authority = owned.use(await openTestAuthority(options.authority));
  const changed = new EventTarget();
  const tell = (): void => void changed.dispatchEvent(new Event('change'));
  const tokens: string[] = [];
  const requests: PlainMessage[] = [];
  const streams: OpenedStream[] = [];
  const { Enrol, Renew } = serviceDefinition(SERVICE);
  if (Enrol === undefined || Renew === undefined) throw new TypeError('Cannot serve: no methods');

  const made: Omit<ScriptedControlPlane, 'address' | 'renewalAddress'> = {
    authority,
    controlPlane: authority.controlPlaneId,
    tokens,
    requests,
    streams,
    onEnrol: (csrDer) => ({ svid: made.svid(csrDer), bundle: made.bundle() }),
    onRenew: (csrDer) => ({ svid: made.svid(csrDer) }),
    svid: (csrDer, account) => issued(authority, csrDer, account),
    bundle: () => bundleOf(authority),
    async until(claim) {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      while (!claim()) await once(changed, 'change', { signal });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };

  const enrolment = new Server();
  enrolment.addService(
    { Enrol },
    {
      Enrol(call: ServerUnaryCall<PlainMessage, PlainMessage>, respond: EnrolAnswer) {
        requests.push(call.request);
        tokens.push(textOf(call.request, 'join_token'));
        try {
          respond(null, made.onEnrol(bytesOf(call.request, 'csr_der')));
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          respond({ code: error.code, details: error.message });
        }
        tell();
      },
    },
  );
  const renewal = new Server();
  renewal.addService(
    { Renew },
    {
      Renew(call: ServerDuplexStream<PlainMessage, PlainMessage>) {
        const received: PlainMessage[] = [];
        streams.push({
          received,
          send: (message) => void call.write(message),
          end: () => call.end(),
        });
        call.on('data', (message: PlainMessage) => {
          received.push(message);
          const ownDer = bytesOf(message, 'csr_der');
          const csrDer = ownDer.length > 0 ? ownDer : bytesOf(message, 'additional_csr_der');
          const answer = csrDer.length > 0 ? made.onRenew(csrDer) : undefined;
          if (answer !== undefined) call.write(answer);
          tell();
        });
        call.on('end', () => call.end());
        tell();
      },
    },
  );
  const { serverAuthority = authority } = options;
  const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
  const open = (server: Server, mode: 'server-auth' | 'mutual'): Promise<string> => {
    owned.defer(() => server.forceShutdown());
    return listen(
      server,
      owned.use(createServerCredentials({ mode, authority: serverAuthority, ...names })),
    );
  };
  const address = await open(enrolment, 'server-auth');
  const renewalAddress = await open(renewal, 'mutual');
  return Object.assign(made, { address, renewalAddress });
}

type EnrolAnswer = (
  error: { readonly code: status; readonly details: string } | null,
  response?: PlainMessage,
) => void;
