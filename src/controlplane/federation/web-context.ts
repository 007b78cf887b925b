// Holds a certificate that is given in files, and takes the next one when the files are replaced.
import { constants, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { SecureContextOptions } from 'node:tls';
import type { Clock } from '@weft/model/clock';
import { errorText } from '@weft/model/error-text';
import type { Logger } from 'pino';

/** Paths of PEM files. */
export interface WebCertificate {
  /** Leaf first. */
  readonly certificateFile: string;
  readonly keyFile: string;
}

export interface WebContext extends Disposable {
  readonly first: SecureContextOptions;
}

/** 5 s: certificates are replaced once in weeks. */
const LOOK_MS = 5_000;
const MAX_FILE_BYTES = 262_144;

interface Taken {
  readonly context: SecureContextOptions;
  readonly signature: string;
}

/** A pair that does not fit together, as while it is being replaced, leaves the one before in use. @throws Error for the first. */
export async function keepWebContext(
  options: { readonly files: WebCertificate; readonly clock: Clock; readonly log: Logger },
  replace: (context: SecureContextOptions) => void,
): Promise<WebContext> {
  const { files, clock, log } = options;
  let { context: first, signature } = await take(files);
  let told = '';
  let isDisposed = false;
  let timer = clock.setTimeout(look, LOOK_MS);
  async function refresh(): Promise<void> {
    const now = await signatureOf(files);
    if (now === signature) return;
    const taken = await take(files);
    signature = taken.signature;
    if (!isDisposed) replace(taken.context);
    log.info('certificate of the bundle endpoint replaced');
  }
  function look(): void {
    refresh()
      .then(
        () => (told = ''),
        (error: unknown) => {
          const reason = errorText(error);
          if (reason !== told) log.error({ reason }, 'certificate of the bundle endpoint not read');
          told = reason;
        },
      )
      .finally(() => {
        if (!isDisposed) timer = clock.setTimeout(look, LOOK_MS);
      });
  }
  return {
    first,
    [Symbol.dispose]: () => {
      isDisposed = true;
      timer[Symbol.dispose]();
    },
  };
}

/** Before and after reading nothing may have changed: else the halves of two pairs could be taken. */
async function take(files: WebCertificate): Promise<Taken> {
  const { certificateFile, keyFile } = files;
  const signature = await signatureOf(files);
  const cert = await readPem(certificateFile);
  const key = await readPem(keyFile);
  if ((await signatureOf(files)) !== signature) throw new Error('the files are being replaced');
  const leaf = new X509Certificate(cert);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) {
    throw new Error(`Cannot serve with ${certificateFile}: ${keyFile} is the key of another`);
  }
  return {
    signature,
    context: { cert, key, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET },
  };
}

async function readPem(path: string): Promise<Buffer> {
  const { size } = await stat(path);
  if (size > MAX_FILE_BYTES) {
    throw new Error(`Cannot read ${path}: it is longer than ${MAX_FILE_BYTES} bytes`);
  }
  return readFile(path);
}

async function signatureOf({ certificateFile, keyFile }: WebCertificate): Promise<string> {
  const parts = await Promise.all(
    [certificateFile, keyFile].map(async (path) => {
      const { ino, dev, size, mtimeNs } = await stat(path, { bigint: true });
      return `${dev} ${ino} ${size} ${mtimeNs}`;
    }),
  );
  return parts.join('\n');
}
