// The enrolment and renewal services of the control plane in a process of their own, with every limit of rate lifted and every token but one believed; or one that echoes.
import { Server } from '@grpc/grpc-js';
import { type AttestationRefusal, type Attestor, notMine } from '@weft/ca/attest/attestor';
import { type Authority, openAuthority } from '@weft/ca/authority';
import { addEnrolmentService, addRenewalService } from '@weft/ca/enrolment-service';
import { createServerCredentials } from '@weft/ca/server-credentials';
import { openFileStore } from '@weft/ca/store/file';
import { parseTrustDomain, spiffeIdOf } from '@weft/model/identity';
import { destination, pino } from 'pino';
import { addEchoService } from './ca-echo.ts';
import { ACCOUNT, BAD_TOKEN, CA_NAMESPACE, ECHO, type Serving } from './ca-messages.ts';
import { TRUST_DOMAIN } from './identities.ts';

const HOST = '127.0.0.1';
const UNLIMITED = { burst: 1e9, perSecond: 1e9 };
const LIMITS = { total: UNLIMITED, perAddress: UNLIMITED, perStream: UNLIMITED };

const notBelieved: AttestationRefusal = {
  ok: false,
  reasonCode: 'token-wrong',
  reason: 'the bad token of the benchmark',
  isTemporary: false,
};

/** What a token costs is a disk's business, or the API server's: it is part of the mass start. */
const believer: Attestor = {
  kind: 'join-token',
  name: 'benchmark',
  attest: (evidence) => {
    if (evidence.kind !== 'join-token') return Promise.resolve(notMine(evidence));
    if (evidence.token === BAD_TOKEN) return Promise.resolve(notBelieved);
    const identity = { namespace: CA_NAMESPACE, serviceAccount: ACCOUNT };
    return Promise.resolve({ ok: true, identity, redeem: () => Promise.resolve({ ok: true }) });
  },
};

async function serve(stateDir: string, isEcho: boolean): Promise<Serving> {
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  if (trustDomain === undefined) throw new TypeError(`Cannot read ${TRUST_DOMAIN}: no domain`);
  /** Audit lines are written, as in the control plane; nobody reads them. */
  const log = pino(destination('/dev/null'));
  const store = await openFileStore({ stateDir });
  const authority = await openAuthority({ store, trustDomain, log });
  const enrolment = new Server();
  addEnrolmentService(enrolment, { authority, attestors: [believer], limits: LIMITS, log });
  const renewal = new Server();
  if (isEcho) addEchoService(renewal, authority);
  else addRenewalService(renewal, { authority, limits: LIMITS });
  return {
    kind: 'serving',
    enrolment: await listen(enrolment, 'server-auth', authority),
    renewal: await listen(renewal, 'mutual', authority),
    bundlePem: authority.bundle().pem,
    controlPlaneId: spiffeIdOf({
      trustDomain,
      namespace: 'weft-system',
      serviceAccount: 'weft-control-plane',
    }),
  };
}

function listen(
  server: Server,
  mode: 'server-auth' | 'mutual',
  authority: Authority,
): Promise<string> {
  const names = { dnsNames: ['localhost'], ipAddresses: [HOST] };
  const { credentials } = createServerCredentials({ mode, authority, ...names });
  return new Promise((resolve, reject) => {
    server.bindAsync(`${HOST}:0`, credentials, (error, port) =>
      error === null ? resolve(`${HOST}:${port}`) : reject(error),
    );
  });
}

if (import.meta.main) {
  const [, , stateDir, what] = process.argv;
  if (stateDir === undefined) throw new TypeError('Cannot serve: no state directory is given');
  process.on('disconnect', () => process.exit(0));
  process.send?.(await serve(stateDir, what === ECHO));
}
