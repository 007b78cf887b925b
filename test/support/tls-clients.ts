// An authority outside the mesh for tests, made with openssl as people make theirs: certificates of servers and clients, and lists of revoked ones.
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface LeafOptions {
  readonly subject?: string;
  /** `DNS:www.example.com,URI:urn:x`. */
  readonly altNames?: string;
  readonly usage?: string;
  /** As openssl's `-newkey` takes it. */
  readonly newKey?: readonly string[];
  /** Whole days from now; below 1 it has ended. */
  readonly days?: number;
}

export interface Leaf {
  readonly certificate: string;
  readonly key: string;
  readonly serial: string;
}

const EC: readonly string[] = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];

export class OutsideCa implements Disposable {
  readonly directory: string;
  readonly certificate: string;
  #count = 0;

  constructor(name = 'Outside CA') {
    this.directory = mkdtempSync(join(tmpdir(), 'weft-outside-'));
    this.certificate = this.path('ca.pem');
    const key = ['-newkey', ...EC, '-nodes', '-keyout', 'ca.key', '-out', 'ca.pem'];
    this.#run('req', '-x509', ...key, '-days', '30', '-subj', `/CN=${name}`);
    mkdirSync(this.path('db'));
    writeFileSync(this.path('db/index'), '');
    writeFileSync(this.path('db/crlnumber'), '01\n');
    writeFileSync(
      this.path('ca.cnf'),
      [
        '[ca]',
        'default_ca=own',
        '[own]',
        'database=db/index',
        'crlnumber=db/crlnumber',
        'new_certs_dir=db',
        'certificate=ca.pem',
        'private_key=ca.key',
        'rand_serial=yes',
        'default_md=sha256',
        'policy=any',
        'copy_extensions=copy',
        'unique_subject=no',
        '[any]',
        'countryName=optional',
        'organizationName=optional',
        'organizationalUnitName=optional',
        'commonName=optional',
      ].join('\n'),
    );
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  #run(...args: readonly string[]): string {
    return execFileSync('openssl', args, {
      cwd: this.directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
    });
  }

  issue(options: LeafOptions = {}): Leaf {
    const { subject = '/CN=leaf', altNames, usage, newKey = EC, days = 5 } = options;
    const name = `leaf${this.#count++}`;
    const extensions = [
      ...(altNames === undefined ? [] : ['-addext', `subjectAltName=${altNames}`]),
      ...(usage === undefined ? [] : ['-addext', `extendedKeyUsage=${usage}`]),
    ];
    const files = ['-keyout', `${name}.key`, '-out', `${name}.csr`];
    this.#run('req', '-newkey', ...newKey, '-nodes', ...files, '-subj', subject, ...extensions);
    const at = (offset: number): string =>
      new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 19).replace(/[-:T]/g, '');
    const validity = ['-startdate', `${at(days - 10)}Z`, '-enddate', `${at(days)}Z`];
    const request = ['-in', `${name}.csr`, '-out', `${name}.pem`, ...validity];
    this.#run('ca', '-batch', '-notext', '-config', 'ca.cnf', ...request);
    const certificate = this.path(`${name}.pem`);
    const serial = this.#run('x509', '-in', certificate, '-noout', '-serial').trim().split('=')[1];
    return { certificate, key: this.path(`${name}.key`), serial: serial ?? '' };
  }

  revoke({ certificate }: Leaf): void {
    this.#run('ca', '-config', 'ca.cnf', '-revoke', certificate);
  }

  /** @param ageDays how long ago it was made. @returns its path */
  writeCrl(ageDays = 0): string {
    const at = (offset: number): string =>
      `${new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
    const times = ['-crl_lastupdate', at(-ageDays), '-crl_nextupdate', at(10)];
    this.#run('ca', '-config', 'ca.cnf', '-gencrl', ...times, '-out', 'ca.crl');
    return this.path('ca.crl');
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export const textOf = (path: string): string => readFileSync(path, 'utf8');

export interface CurlAnswer {
  /** curl's own; 0: an answer came. */
  readonly exitCode: number;
  readonly status: number;
  readonly headers: string;
  readonly body: string;
}

/** Runs curl against a port of this machine. */
export function curl(args: readonly string[]): Promise<CurlAnswer> {
  return new Promise((resolve) => {
    const all = ['-sS', '-i', '--max-time', '20', ...args];
    execFile('curl', all, { encoding: 'utf8' }, (error, stdout) => {
      const exitCode = error === null ? 0 : Number(error.code ?? 1);
      const [head = '', body = ''] = stdout.split('\r\n\r\n');
      resolve({ exitCode, status: Number(head.split(' ')[1] ?? 0), headers: head, body });
    });
  });
}

/** Why curl and openssl are not there; `undefined` when they are. */
export function missingTools(): string | undefined {
  for (const [tool, argument] of [
    ['curl', '--version'],
    ['openssl', 'version'],
  ] as const) {
    try {
      execFileSync(tool, [argument], { stdio: 'ignore' });
    } catch {
      return `${tool} is not installed`;
    }
  }
  return undefined;
}
