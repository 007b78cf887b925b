// Runs one way of taking TLS: brings its certificates together from Secrets and files, keeps the last good ones, and tells what they are.
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Clock, systemClock } from '@weft/model/clock';
import { errorText } from '@weft/model/error-text';
import { isTrust, type Secret } from '@weft/xds/resources/secret';
import type { CertificateRef, TerminationTls } from '@weft/xds/resources/termination';
import { TerminationAcceptor } from './acceptor.ts';
import {
  createTerminationMaterial,
  type TerminationMaterial,
  type TerminationPem,
} from './material.ts';

/** 1 s: files are few and small, and reading them sees swapped links as well as written files. */
const FILE_PERIOD_MS = 1_000;
/** Chains of 16 certificates with lists of 100,000 revoked ones. */
const MAX_FILE_BYTES = 8 * 1024 * 1024;

export interface EngineOptions {
  readonly tls: TerminationTls;
  readonly secret: (name: string) => Secret | undefined;
  readonly now: () => number;
  /** By which files are looked at again. Default: the system's. */
  readonly clock?: Clock;
  /** Others are in force, or nothing is any more: who was let in by those before is to be judged again. */
  readonly onChange: () => void;
  /** What cannot be used. Never with anything of a key. */
  readonly onProblem: (problem: string) => void;
}

export class TerminationEngine implements Disposable {
  readonly #options: EngineOptions;
  readonly #files: readonly string[];
  #texts = new Map<string, string>();
  #acceptor: TerminationAcceptor | undefined;
  #material: TerminationMaterial | undefined;
  #last = '';
  readonly #clock: Clock;
  #timer: Disposable | undefined;
  #isDisposed = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#files = filesOf(options.tls);
  }

  /** What its files said when they were last read. */
  get texts(): ReadonlyMap<string, string> {
    return this.#texts;
  }

  /**
   * Takes what there is at once; files that others have read as they read them, so that a change of the configuration
   * keeps nobody waiting. Then reads them itself, and follows them.
   */
  async start(known: ReadonlyMap<string, string>): Promise<void> {
    if (this.#files.length === 0) {
      this.refresh();
      return;
    }
    this.#texts = new Map([...known].filter(([path]) => this.#files.includes(path)));
    if (this.#texts.size === new Set(this.#files).size) this.refresh();
    await this.#readFiles();
    if (this.#isDisposed) return;
    this.refresh();
    this.#schedule();
  }

  /** `undefined` while a certificate or an authority has never been there. */
  get acceptor(): TerminationAcceptor | undefined {
    return this.#acceptor;
  }

  get certificates(): TerminationMaterial['certificates'] {
    return this.#material?.certificates ?? [];
  }

  #schedule(): void {
    if (this.#isDisposed) return;
    this.#timer = this.#clock.setTimeout(() => {
      void this.#readFiles().then(() => {
        if (!this.#isDisposed) this.refresh();
        this.#schedule();
      });
    }, FILE_PERIOD_MS);
  }

  async #readFiles(): Promise<void> {
    const texts = new Map<string, string>();
    for (const path of this.#files) {
      const text = await readText(path);
      if (text !== undefined) texts.set(path, text);
    }
    this.#texts = texts;
  }

  /** Takes what there is now, as a whole or not at all. A Secret that is taken away takes its ports with it. */
  refresh(): void {
    const { tls, onProblem } = this.#options;
    const found = this.#collect();
    if (typeof found === 'string') {
      onProblem(found);
      if (!isOfFiles(tls)) this.#close();
      return;
    }
    const version = hash('sha256', JSON.stringify(found));
    if (version === this.#last) return;
    try {
      this.#put(createTerminationMaterial(tls, found));
      this.#last = version;
    } catch (error) {
      onProblem(errorText(error));
    }
  }

  #put(material: TerminationMaterial): void {
    const { tls, now, onChange } = this.#options;
    this.#material = material;
    if (this.#acceptor === undefined)
      this.#acceptor = new TerminationAcceptor({ tls, material, now });
    else this.#acceptor.setMaterial(material);
    onChange();
  }

  #close(): void {
    if (this.#acceptor === undefined) return;
    this.#acceptor = undefined;
    this.#material = undefined;
    this.#last = '';
    this.#options.onChange();
  }

  /** @returns what is missing, when something is. */
  #collect(): TerminationPem | string {
    const { certificates, clients } = this.#options.tls;
    const pairs: TerminationPem['certificates'][number][] = [];
    let missing = '';
    for (const ref of certificates) {
      const pair = ref.kind === 'sds' ? this.#delivered(ref.name) : this.#ofFiles(ref);
      if (typeof pair === 'string') missing = pair;
      else pairs.push(pair);
    }
    // One that is missing closes no other's names; a file that is missing is about to be there again.
    if (missing !== '') this.#options.onProblem(missing);
    if (pairs.length === 0 || (missing !== '' && this.#isHolding())) return missing;
    if (clients === undefined) return { certificates: pairs };
    const trust = this.#trust(clients.trust);
    return typeof trust === 'string' ? trust : { certificates: pairs, clients: trust };
  }

  #isHolding(): boolean {
    return isOfFiles(this.#options.tls) && this.#acceptor !== undefined;
  }

  #delivered(name: string): TerminationPem['certificates'][number] | string {
    const secret = this.#options.secret(name);
    if (secret === undefined || isTrust(secret)) return `${name}: is not there`;
    const { certificatePem, keyPem } = secret;
    return { label: name, certificatePem, keyPem: keyPem.reveal() };
  }

  #ofFiles(ref: Extract<CertificateRef, { readonly kind: 'file' }>) {
    const certificatePem = this.#texts.get(ref.certificate);
    const keyPem = this.#texts.get(ref.key);
    if (certificatePem === undefined) return `${ref.certificate}: cannot be read`;
    if (keyPem === undefined) return `${ref.key}: cannot be read`;
    return { label: ref.certificate, certificatePem, keyPem };
  }

  #trust(
    trust: NonNullable<TerminationTls['clients']>['trust'],
  ): NonNullable<TerminationPem['clients']> | string {
    if (trust.kind === 'sds') {
      const secret = this.#options.secret(trust.name);
      if (secret === undefined || !isTrust(secret)) return `${trust.name}: is not there`;
      return { caPem: secret.trustedCaPem, crlPem: secret.crlPem };
    }
    const caPem = this.#texts.get(trust.ca);
    if (caPem === undefined) return `${trust.ca}: cannot be read`;
    if (trust.crl === undefined) return { caPem, crlPem: undefined };
    const crlPem = this.#texts.get(trust.crl);
    return crlPem === undefined ? `${trust.crl}: cannot be read` : { caPem, crlPem };
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#timer?.[Symbol.dispose]();
  }
}

function filesOf({ certificates, clients }: TerminationTls): readonly string[] {
  const pairs = certificates.flatMap((ref) =>
    ref.kind === 'file' ? [ref.certificate, ref.key] : [],
  );
  const trust = clients?.trust;
  if (trust?.kind !== 'file') return pairs;
  return [...pairs, trust.ca, ...(trust.crl === undefined ? [] : [trust.crl])];
}

/** A file that is being written anew is gone for a moment; what was in it stays in force. */
const isOfFiles = ({ certificates, clients }: TerminationTls): boolean =>
  certificates.every(({ kind }) => kind === 'file') &&
  (clients === undefined || clients.trust.kind === 'file');

async function readText(path: string): Promise<string | undefined> {
  try {
    const text = await readFile(path, 'utf8');
    return text.length > MAX_FILE_BYTES ? undefined : text;
  } catch {
    return undefined;
  }
}
