// The generation of certificates in use: made once for each change, and told to everything that shakes hands.
import { X509Certificate } from 'node:crypto';
import type { SpiffeId } from '@weft/model/identity';
import type { Svid } from './enrol/check-svid.ts';
import { createMeshContexts, type MeshContexts, splitPem } from './tls/credentials.ts';

export class IdentityState {
  #svid: Svid | undefined;
  #contexts: MeshContexts | undefined;
  #spiffeId: SpiffeId | undefined;

  get svid(): Svid | undefined {
    return this.#svid;
  }

  /** Who the workload is; known from its first certificate on, also when that has expired. */
  get spiffeId(): SpiffeId | undefined {
    return this.#spiffeId;
  }

  get contexts(): MeshContexts | undefined {
    return this.#contexts;
  }

  /** @returns whether the roots changed: connections must then be judged again. */
  set(svid: Svid | undefined): boolean {
    const isOtherTrust =
      svid?.bundlePem !== this.#svid?.bundlePem || svid?.federated !== this.#svid?.federated;
    this.#contexts = svid === undefined ? undefined : createMeshContexts(svid);
    this.#svid = svid;
    this.#spiffeId = svid?.spiffeId ?? this.#spiffeId;
    return isOtherTrust;
  }

  /** For people: who, from when to when, and whom it trusts. No key. */
  report(): unknown {
    const svid = this.#svid;
    if (svid === undefined) return { certificate: null, roots: [] };
    const { federated } = svid;
    return {
      certificate: {
        spiffeId: svid.spiffeId,
        serial: svid.serialHex,
        notBefore: new Date(svid.notBeforeMs).toISOString(),
        notAfter: new Date(svid.notAfterMs).toISOString(),
        chain: splitPem(svid.chainPem).map(describe),
      },
      roots: splitPem(svid.bundlePem).map(describe),
      ...(federated && {
        federated: federated.map(({ trustDomain, trustedCaPem }) => ({
          trustDomain,
          roots: splitPem(trustedCaPem).map(describe),
        })),
      }),
    };
  }
}

function describe(pem: string): object {
  const certificate = new X509Certificate(pem);
  return {
    subject: certificate.subject,
    serial: certificate.serialNumber.toLowerCase(),
    fingerprint256: certificate.fingerprint256,
    notAfter: certificate.validToDate.toISOString(),
  };
}
