// What tests of credentials share: a store to fill, and everything that was logged and counted.
import { Writable } from 'node:stream';
import type { Injection } from '@weft/model/credentials/types';
import { pino, type Logger } from 'pino';
import { MetricsRegistry } from '../../telemetry/metrics.ts';
import type { Credential, Way } from '../credential.ts';
import { createCredentialMetrics, type CredentialMetrics } from '../credential-metrics.ts';
import { CredentialStore } from '../credential-store.ts';
import { HandOvers } from '../hand-overs.ts';

export interface CredentialsRig {
  readonly store: CredentialStore;
  readonly handOvers: HandOvers;
  readonly metrics: CredentialMetrics;
  readonly log: Logger;
  /** Everything that was logged. */
  readonly logged: () => string;
  /** Everything that metrics show. */
  readonly exposed: () => string;
}

export function createCredentialsRig(): CredentialsRig {
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  const log = pino({ level: 'trace' }, sink);
  const registry = new MetricsRegistry();
  const metrics = createCredentialMetrics(registry);
  const identity = (): string => 'spiffe://mesh.test/ns/shop/sa/web';
  return {
    store: new CredentialStore(),
    handOvers: new HandOvers({ log, metrics, identity }),
    metrics,
    log,
    logged: () => lines.join(''),
    exposed: () => registry.expose(),
  };
}

export interface CredentialOf {
  readonly name?: string;
  readonly version?: string;
  readonly values?: Readonly<Record<string, string | Buffer>>;
  readonly ways?: readonly Way[];
  readonly injections?: readonly Injection[];
}

export const credentialOf = ({
  name = 'db',
  version = '1',
  values = { password: 's3cret' },
  ways = ['url', 'files', 'injected'],
  injections = [],
}: CredentialOf = {}): Credential => ({
  name,
  version,
  values: new Map(Object.entries(values).map(([key, value]) => [key, Buffer.from(value)])),
  ways: new Set(ways),
  injections,
});

/** Grants exactly these. */
export function grant(store: CredentialStore, ...credentials: readonly Credential[]): void {
  const names = new Set(credentials.map(({ name }) => name));
  const removed = store.all().flatMap(({ name }) => (names.has(name) ? [] : [name]));
  store.apply({ credentials, removed, isComplete: true });
}
