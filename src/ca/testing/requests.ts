// Makes certificate requests for tests with openssl, which shares no code with the CA.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RequestOptions {
  readonly subject?: string;
  /** As in `subjectAltName`: `URI:…,DNS:…`. */
  readonly names?: string;
  readonly extensions?: readonly string[];
  /** What `openssl req -newkey` is told; default `ec` on P-256. */
  readonly newKey?: readonly string[];
  readonly digest?: string;
}

const P256 = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];

export interface KeyedRequest {
  readonly csrDer: Buffer;
  readonly keyPem: string;
}

export function opensslRequest(options: RequestOptions = {}): KeyedRequest {
  const directory = mkdtempSync(join(tmpdir(), 'weft-csr-'));
  const { subject = '/', names, extensions = [], newKey = P256, digest = 'sha256' } = options;
  const added = [...(names === undefined ? [] : [`subjectAltName=${names}`]), ...extensions];
  try {
    execFileSync(
      'openssl',
      [
        'req',
        '-new',
        '-nodes',
        '-newkey',
        ...newKey,
        '-keyout',
        'key.pem',
        '-out',
        'csr.der',
        '-outform',
        'DER',
        '-subj',
        subject,
        `-${digest}`,
        ...added.flatMap((extension) => ['-addext', extension]),
      ],
      { cwd: directory, stdio: 'pipe' },
    );
    return {
      csrDer: readFileSync(join(directory, 'csr.der')),
      keyPem: readFileSync(join(directory, 'key.pem'), 'utf8'),
    };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export const opensslCsr = (options: RequestOptions = {}): Buffer => opensslRequest(options).csrDer;
