// Measures what a certificate costs the CA alone, called in this process, beside what openssl can sign and verify at most.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openAuthority } from '@weft/ca/authority';
import { openFileStore } from '@weft/ca/store/file';
import { createKeyAndRequest } from '@weft/dataplane/enrol/csr';
import { parseTrustDomain } from '@weft/model/identity';
import { signingLimit } from './ca-limit.ts';
import { TRUST_DOMAIN } from './identities.ts';
import { type Ratio, ratioOf, summarize } from './statistics.ts';

const REQUESTS = 16;
const CERTIFICATES = 600;
const WARM_UP = 400;
const OPENSSL_SECONDS = 1;
const US_PER_SECOND = 1e6;

/** @returns certificates for a second of CPU, by what openssl could do at most in the same round. */
export async function measureCaAlone(rounds: number): Promise<Ratio> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'weft-ca-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const stateDir = join(folder, 'state');
  await mkdir(stateDir, { mode: 0o700 });
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  if (trustDomain === undefined) throw new TypeError(`Cannot read ${TRUST_DOMAIN}: no domain`);
  const store = stack.use(await openFileStore({ stateDir }));
  const authority = stack.use(await openAuthority({ store, trustDomain }));
  const requests: Uint8Array[] = [];
  for (let at = 0; at < REQUESTS; at++) requests.push((await createKeyAndRequest()).csrDer);
  const issue = (count: number): void => {
    for (let at = 0; at < count; at++) {
      const request = requests[at % REQUESTS];
      if (request === undefined) throw new RangeError('Cannot measure: no request');
      const workload = { namespace: 'shop', serviceAccount: `app-${at}` };
      const issued = authority.issue(request, workload, 'benchmark', 'local');
      if (!issued.ok) throw new Error(`Cannot measure the CA: ${issued.reason}`);
    }
  };
  issue(WARM_UP);
  const answered: number[] = [];
  const limits: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const before = process.cpuUsage();
    issue(CERTIFICATES);
    const { user, system } = process.cpuUsage(before);
    answered.push((CERTIFICATES / (user + system)) * US_PER_SECOND);
    limits.push((await signingLimit(OPENSSL_SECONDS)).answersPerSecond);
  }
  return ratioOf(summarize(answered), summarize(limits));
}
