// Keeps a server's TLS in order: a certificate of Weft's own CA, made anew at half of its life and whenever the roots change.
import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { type Clock, systemClock } from '@weft/model/clock';
import type { Logger } from 'pino';
import type { Authority } from './authority.ts';

export interface ServerContextOptions {
  readonly authority: Pick<Authority, 'serverCertificate' | 'bundle' | 'onBundleChange'>;
  /** Names and addresses at which clients dial; the SPIFFE id of the control plane is in the certificate in any case. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  /** Clients must show a certificate of the current bundle. */
  readonly isMutual: boolean;
  readonly clock?: Clock;
  readonly log?: Logger;
}

export interface ServerContext extends Disposable {
  readonly first: SecureContextOptions;
}

/** 10 s: how soon a server certificate that could not be made is tried again. */
const RETRY_MS = 10_000;

/** Disposing ends the renewals, not the service. @throws when the issuing CA has expired. */
export function keepServerContext(
  options: ServerContextOptions,
  replace: (context: SecureContextOptions) => void,
): ServerContext {
  const { authority, dnsNames, ipAddresses, isMutual, clock = systemClock, log } = options;
  let timer: Disposable | undefined;
  const contextOf = (): SecureContextOptions => {
    const { keyPem, chainPem, notAfter } = authority.serverCertificate({ dnsNames, ipAddresses });
    timer?.[Symbol.dispose]();
    timer = clock.setTimeout(renew, (notAfter.getTime() - clock.now()) / 2);
    return {
      key: keyPem,
      cert: chainPem,
      minVersion: 'TLSv1.3',
      // A resumed session is not verified again: it would outlive the certificate and the root that it was made with.
      secureOptions: constants.SSL_OP_NO_TICKET,
      ...(isMutual ? { ca: authority.bundle().pem } : {}),
    };
  };
  const first = contextOf();
  function renew(): void {
    try {
      replace(contextOf());
    } catch (error) {
      // The certificate in use may still be good for half of its life.
      log?.error({ err: error }, 'server certificate not renewed');
      timer?.[Symbol.dispose]();
      timer = clock.setTimeout(renew, RETRY_MS);
    }
  }
  const subscription = authority.onBundleChange(renew);
  return {
    first,
    [Symbol.dispose]: () => {
      subscription[Symbol.dispose]();
      timer?.[Symbol.dispose]();
    },
  };
}
