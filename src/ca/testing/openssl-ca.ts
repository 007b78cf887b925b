// Makes CAs for tests with openssl, as operators make those that they bring.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BroughtPem } from '../brought.ts';

export interface TestCa {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface TestCaOptions {
  readonly subject?: string;
  /** As `openssl req -newkey` is told; default `ec` on P-256. */
  readonly newKey?: readonly string[];
  /** Lines of an extension file; default a CA with any path length. */
  readonly extensions?: readonly string[];
  readonly digest?: string;
  readonly days?: number;
}

const P256 = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
export const CA_EXTENSIONS: readonly string[] = [
  'basicConstraints=critical,CA:TRUE',
  'keyUsage=critical,keyCertSign,cRLSign',
  'subjectKeyIdentifier=hash',
];

/** @param issuer absent: it signs itself. */
export function opensslCa(options: TestCaOptions = {}, issuer?: TestCa): TestCa {
  const { subject = '/CN=test CA', newKey = P256, extensions = CA_EXTENSIONS } = options;
  const { digest = 'sha256', days = 365 } = options;
  const directory = mkdtempSync(join(tmpdir(), 'weft-openssl-ca-'));
  const run = (...args: readonly string[]): void => {
    execFileSync('openssl', args, { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] });
  };
  try {
    writeFileSync(join(directory, 'extensions'), extensions.join('\n'));
    const files = ['-keyout', 'key.pem', '-out', 'csr.pem'];
    run('req', '-new', '-nodes', '-newkey', ...newKey, ...files, '-subj', subject);
    if (issuer !== undefined) {
      writeFileSync(join(directory, 'issuer.pem'), issuer.certificatePem);
      writeFileSync(join(directory, 'issuer-key.pem'), issuer.keyPem);
    }
    const signedBy =
      issuer === undefined
        ? ['-signkey', 'key.pem']
        : ['-CA', 'issuer.pem', '-CAkey', 'issuer-key.pem', '-CAcreateserial'];
    const request = ['-in', 'csr.pem', '-extfile', 'extensions', '-days', String(days)];
    run('x509', '-req', ...request, ...signedBy, `-${digest}`, '-out', 'ca.pem');
    return {
      certificatePem: readFileSync(join(directory, 'ca.pem'), 'utf8'),
      keyPem: readFileSync(join(directory, 'key.pem'), 'utf8'),
    };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The issuing CA first, the root last; what lies between goes with the issuing one. */
export function broughtPem(issuing: TestCa, ...above: readonly TestCa[]): BroughtPem {
  const root = above.at(-1) ?? issuing;
  const between = above.slice(0, -1);
  return {
    chain: [issuing, ...between].map(({ certificatePem }) => certificatePem).join(''),
    key: issuing.keyPem,
    root: root.certificatePem,
  };
}
