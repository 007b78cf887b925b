// A control plane in this process whose manifests a test sets as text, and whose authority's key the test holds too.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createState } from '@weft/ca/generation';
import { openFileStore } from '@weft/ca/store/file';
import { type ControlPlane, openControlPlane } from '@weft/controlplane/control-plane';
import { EMPTY_FOLDER, mergeFolder } from '@weft/controlplane/registry/file/merge';
import { readObjects } from '@weft/controlplane/registry/read-objects';
import type { Source, SourceState } from '@weft/controlplane/registry/source';
import { parseTrustDomain, type TrustDomain } from '@weft/model/identity';
import { pino } from 'pino';
import { type Credential, pkiOf, type TestPki } from './mesh-pki.ts';

const TTL_MS = 3_600_000;

export interface ConformanceMeshOptions {
  readonly trustDomain: string;
  readonly rootNamespace: string;
}

/** What a folder of one file would be, without the waiting for editors to finish. */
class TextSource implements Source {
  #folder = EMPTY_FOLDER;
  readonly #listeners = new Set<() => void>();

  get state(): SourceState {
    return { snapshot: this.#folder.snapshot, problems: this.#folder.problems };
  }

  set(text: string): void {
    const read = [readObjects(text, 'mesh.yaml')];
    this.#folder = mergeFolder(this.#folder, { read, gone: [], problems: [] });
    for (const listener of this.#listeners) listener();
  }

  subscribe(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear();
  }
}

export class ConformanceMesh implements AsyncDisposable {
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
  readonly stateDir: string;
  readonly controlPlane: ControlPlane;
  readonly pki: TestPki;
  readonly #source: TextSource;
  readonly #credentials = new Map<string, Credential>();

  constructor(parts: {
    readonly trustDomain: TrustDomain;
    readonly rootNamespace: string;
    readonly stateDir: string;
    readonly controlPlane: ControlPlane;
    readonly pki: TestPki;
    readonly source: TextSource;
  }) {
    this.trustDomain = parts.trustDomain;
    this.rootNamespace = parts.rootNamespace;
    this.stateDir = parts.stateDir;
    this.controlPlane = parts.controlPlane;
    this.pki = parts.pki;
    this.#source = parts.source;
  }

  /** Replaces all manifests. @returns when proxies can be told of them. @throws when one is refused. */
  async set(text: string): Promise<void> {
    const { views } = this.controlPlane;
    const compiled = Promise.withResolvers<void>();
    const subscription = views.subscribe(() => compiled.resolve());
    try {
      this.#source.set(text);
      await compiled.promise;
    } finally {
      subscription[Symbol.dispose]();
    }
    const errors = views.problems().filter(({ severity }) => severity === 'error');
    if (errors.length > 0) throw new TypeError(`Cannot use manifests: ${JSON.stringify(errors)}`);
  }

  /** `TD/ns/NS/sa/SA`, of any trust domain; the same certificate each time. */
  credential(principal: string): Credential {
    const known = this.#credentials.get(principal);
    if (known !== undefined) return known;
    const made = this.pki.issue({ uris: [`spiffe://${principal}`] });
    this.#credentials.set(principal, made);
    return made;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.controlPlane[Symbol.asyncDispose]();
    await rm(this.stateDir, { recursive: true, force: true });
  }
}

export async function openConformanceMesh(
  options: ConformanceMeshOptions,
): Promise<ConformanceMesh> {
  const trustDomain = parseTrustDomain(options.trustDomain);
  if (trustDomain === undefined) throw new RangeError(`${options.trustDomain} is no trust domain`);
  const { rootNamespace } = options;
  const stateDir = await mkdtemp(join(tmpdir(), 'weft-conformance-'));
  const state = createState(trustDomain, Date.now());
  const [generation] = state.generations;
  if (generation === undefined) throw new Error('Cannot open a mesh: the authority has no root');
  {
    await using store = await openFileStore({ stateDir });
    await store.save(state, undefined);
  }
  const source = new TextSource();
  const free = { host: '127.0.0.1', port: 0 };
  const controlPlane = await openControlPlane({
    manifests: source,
    stateDir,
    trustDomain,
    rootNamespace,
    xds: free,
    enrolment: free,
    admin: free,
    svidTtlMs: TTL_MS,
    dnsNames: [],
    ipAddresses: ['127.0.0.1'],
    version: 'test',
    log: pino({ level: 'silent' }),
  });
  const pki = pkiOf(generation, trustDomain);
  return new ConformanceMesh({ trustDomain, rootNamespace, stateDir, controlPlane, pki, source });
}
