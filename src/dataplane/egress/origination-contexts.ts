// What TLS to a host outside is made with: roots and certificate as secrets or files say them now; last good kept of files.
import { readFileSync, statSync } from 'node:fs';
import tls from 'node:tls';
import { errorText } from '@weft/model/error-text';
import { type OriginatedTls, SYSTEM_ROOTS_FILE } from '@weft/xds/resources/egress';
import { isTrust, type Secret } from '@weft/xds/resources/secret';

export interface OriginationSources {
  readonly secret: (name: string) => Secret | undefined;
  readonly now: () => number;
  /** A file that cannot be read or used; the last good one stays. */
  readonly onBadFile: (detail: string) => void;
}

/** Files are looked at again no more often: a rotated one is in force within it. */
const FILE_CHECK_MS = 2_000;
/** Far above any chain or bundle of roots. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

interface Held {
  readonly context: tls.SecureContext;
  /** Equal texts: nothing that it was made of has changed. */
  readonly stamp: string;
}

export class OriginationContexts {
  readonly #tls: OriginatedTls;
  readonly #sources: OriginationSources;
  #held: Held | undefined;
  #checkedAt = 0;

  constructor(definition: OriginatedTls, sources: OriginationSources) {
    this.#tls = definition;
    this.#sources = sources;
  }

  /** @returns why there is none yet, as text. */
  current(): tls.SecureContext | string {
    const problem = this.#refresh();
    return this.#held?.context ?? problem ?? 'has not been made';
  }

  /** What was made with a secret that has changed or gone is used no more. @returns whether there is such. */
  secretsChanged(): boolean {
    this.#checkedAt = 0;
    const stamp = this.#secretStamp();
    if (stamp === this.#usedSecrets) return false;
    this.#held = undefined;
    return true;
  }

  #usedSecrets = '';

  #refresh(): string | undefined {
    const now = this.#sources.now();
    if (this.#held !== undefined && now < this.#checkedAt + FILE_CHECK_MS) return undefined;
    this.#checkedAt = now;
    try {
      const stamp = `${this.#fileStamp()} ${this.#secretStamp()}`;
      if (stamp === this.#held?.stamp) return undefined;
      const context = this.#create();
      this.#held = { context, stamp };
      this.#usedSecrets = this.#secretStamp();
      return undefined;
    } catch (error) {
      const detail = errorText(error);
      this.#sources.onBadFile(detail);
      return detail;
    }
  }

  #secretNames(): readonly string[] {
    const { trust, certificate } = this.#tls;
    return [trust, certificate].flatMap((one) => (one?.kind === 'secret' ? [one.name] : []));
  }

  /** Digests, so that no key is held as a text for comparing it. */
  #secretStamp(): string {
    const { secret } = this.#sources;
    return this.#secretNames()
      .map((name) => {
        const held = secret(name);
        if (held === undefined) return '';
        return isTrust(held) ? held.trustedCaPem : `${held.certificatePem}${held.keyPem.digest}`;
      })
      .join(' ');
  }

  #fileStamp(): string {
    const { trust, certificate } = this.#tls;
    const paths = [
      ...(trust.kind === 'file' ? [trust.path] : []),
      ...(certificate?.kind === 'files' ? [certificate.certificate, certificate.key] : []),
    ];
    return paths
      .map((path) => {
        const { mtimeMs, size, ino } = statSync(path);
        return `${path} ${mtimeMs} ${size} ${ino}`;
      })
      .join(' ');
  }

  /** @throws Error naming what is missing; never with what a key holds. */
  #create(): tls.SecureContext {
    const ca = this.#roots();
    return tls.createSecureContext({
      ...(ca !== undefined && { ca }),
      ...this.#certificate(),
      minVersion: this.#tls.minVersion,
      maxVersion: 'TLSv1.3',
    });
  }

  #roots(): string | undefined {
    const { trust } = this.#tls;
    if (trust.kind === 'file') return readPem(trust.path);
    if (trust.kind === 'system') return systemRoots();
    const held = this.#sources.secret(trust.name);
    if (held !== undefined && isTrust(held)) return held.trustedCaPem;
    throw new Error(`Cannot trust anybody: the roots ${trust.name} have not been received`);
  }

  #certificate(): { readonly cert: string; readonly key: string } | undefined {
    const { certificate } = this.#tls;
    if (certificate === undefined) return undefined;
    if (certificate.kind === 'files') {
      return { cert: readPem(certificate.certificate), key: readPem(certificate.key) };
    }
    const held = this.#sources.secret(certificate.name);
    if (held !== undefined && !isTrust(held)) {
      return { cert: held.certificatePem, key: held.keyPem.reveal() };
    }
    throw new Error(`Cannot show a certificate: ${certificate.name} has not been received`);
  }
}

function readPem(path: string): string {
  const { size } = statSync(path);
  if (size > MAX_FILE_BYTES) throw new Error(`Cannot use ${path}: it has ${size} bytes`);
  const text = readFileSync(path, 'latin1');
  if (text.includes('-----BEGIN ')) return text;
  throw new Error(`Cannot use ${path}: it holds no PEM`);
}

/** Those of the system where it has them, else those that came with Node. */
function systemRoots(): string | undefined {
  try {
    return readPem(SYSTEM_ROOTS_FILE);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
