// Decides which credential an outbound request is given, and turns it into header lines: by where the request really goes, never by what its Host says.
import type { Injection, InjectionScheme } from '@weft/model/credentials/types';
import type { Forward, HttpDecision } from '../filters/http-filters.ts';
import { HeadEdits } from '../filters/head-edits.ts';
import type { Credential } from './credential.ts';
import type { CredentialMetrics } from './credential-metrics.ts';
import type { CredentialStore } from './credential-store.ts';
import type { HandOvers } from './hand-overs.ts';

/** Headers of one injection, ready to be written. */
export interface Injected {
  /** Taken out of what the application sent, in lower case. */
  readonly name: string;
  readonly value: string;
}

export type InjectionOutcome =
  | {
      readonly kind: 'inject';
      readonly lines: readonly Injected[];
      /** Whether one of them may not go out in the clear. */
      readonly mustBeSecured: boolean;
    }
  | {
      readonly kind: 'refuse';
      readonly reasonCode: 'credential-needs-tls' | 'credential-unusable';
    };

/** Where a request goes, once it has been decided. */
export interface InjectionTarget {
  /** `outbound|PORT||HOST`; every other cluster has no credentials. */
  readonly cluster: string;
  /** Whether it leads where its name says; else the application has chosen the address. */
  isNamed(): boolean;
  /** Whether every endpoint of it is reached by TLS. */
  isSecured(): boolean;
}

interface Ready {
  readonly injection: Injection;
  /** Absent where the value cannot be a header's. */
  readonly line: Injected | undefined;
  /** To be called for each request that gets it. */
  readonly note: () => void;
}

/** Destinations for which the choice is kept; a workload that calls more begins anew. */
const MAX_CHOICES = 1_000;
const NONE: readonly Ready[] = [];

export interface InjectionOptions {
  readonly store: CredentialStore;
  readonly handOvers: HandOvers;
  readonly metrics: CredentialMetrics;
}

export class Injections implements Disposable {
  readonly #options: InjectionOptions;
  readonly #subscription: Disposable;
  /** By cluster. */
  readonly #choices = new Map<string, readonly Ready[]>();

  constructor(options: InjectionOptions) {
    this.#options = options;
    this.#subscription = options.store.onChange(() => this.#choices.clear());
  }

  /** @returns `undefined` where nothing is injected. */
  of(target: InjectionTarget): InjectionOutcome | undefined {
    const ready = this.#choices.get(target.cluster) ?? this.#choose(target.cluster);
    if (ready.length === 0) return undefined;
    const { metrics } = this.#options;
    const lines: Injected[] = [];
    const isNamed = target.isNamed();
    let mustBeSecured = false;
    for (const { injection, line } of ready) {
      if (line === undefined) {
        metrics.refused('unusable');
        return { kind: 'refuse', reasonCode: 'credential-unusable' };
      }
      if (!isNamed || (!injection.allowPlaintext && !target.isSecured())) {
        metrics.refused('needs-tls');
        return { kind: 'refuse', reasonCode: 'credential-needs-tls' };
      }
      lines.push(line);
      mustBeSecured ||= !injection.allowPlaintext;
    }
    for (const { note } of ready) note();
    return { kind: 'inject', lines, mustBeSecured };
  }

  /**
   * The decision with the credentials of where it goes: what the application sent under these names is taken out. A
   * request that must not have them, or cannot, is answered here.
   */
  applyTo(decision: Forward, reached: Omit<InjectionTarget, 'cluster'>): HttpDecision {
    const outcome = this.of({ cluster: decision.route.cluster, ...reached });
    if (outcome === undefined) return decision;
    const { requestId, verdict, marks } = decision;
    if (outcome.kind === 'refuse') {
      const { reasonCode } = outcome;
      const answer = { kind: 'respond', status: 503, body: reasonCode, headers: [] } as const;
      return { ...answer, reasonCode, requestId, verdict, marks, nearest: undefined };
    }
    const edits = decision.edits ?? new HeadEdits();
    let added = decision.added;
    for (const { name, value } of outcome.lines) {
      edits.remove(name);
      added = [...without(added, name), name, value];
    }
    const secrets = outcome.lines.map(({ name }) => name);
    const { mustBeSecured } = outcome;
    const ruled = this.#withoutMirrors(decision.ruled);
    return { ...decision, edits, added, secrets, mustBeSecured, ruled };
  }

  /** A copy would carry the credential to somebody whom nobody meant: there is none of such a request. */
  #withoutMirrors(ruled: Forward['ruled']): Forward['ruled'] {
    if (ruled === undefined || ruled.mirrors.length === 0) return ruled;
    this.#options.metrics.refused('mirrored');
    return { ...ruled, mirrors: [] };
  }

  /** One header gets one value: the most specific host's; of equal ones that of the first name, so that all proxies agree. */
  #choose(cluster: string): readonly Ready[] {
    const { store, handOvers } = this.#options;
    const destination = destinationOf(cluster);
    const byHeader = new Map<string, { readonly score: number; readonly ready: Ready }>();
    if (destination !== undefined) {
      const sorted = [...store.all()].sort((a, b) => (a.name < b.name ? -1 : 1));
      for (const credential of sorted) {
        if (!credential.ways.has('injected')) continue;
        for (const injection of credential.injections) {
          const score = Math.max(...injection.hosts.map((host) => scoreOf(host, destination)));
          const header = headerOf(injection.scheme);
          if (score <= 0 || score <= (byHeader.get(header)?.score ?? 0)) continue;
          const line = lineOf(injection.scheme, credential);
          const note = handOvers.noter(credential, 'injected', cluster);
          byHeader.set(header, { score, ready: { injection, line, note } });
        }
      }
    }
    const chosen = byHeader.size === 0 ? NONE : [...byHeader.values()].map(({ ready }) => ready);
    if (this.#choices.size >= MAX_CHOICES) this.#choices.clear();
    this.#choices.set(cluster, chosen);
    return chosen;
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
    this.#choices.clear();
  }
}

const without = (headers: readonly string[], name: string): readonly string[] =>
  headers.filter((_text, at) => headers[at - (at % 2)] !== name);

interface Destination {
  readonly host: string;
  readonly port: string;
}

/** @returns `undefined` for clusters that are no named destination: where they lead is the application's word. */
function destinationOf(cluster: string): Destination | undefined {
  const [kind, port, subset, host, ...more] = cluster.split('|');
  if (kind !== 'outbound' || !port || subset !== '' || !host || more.length > 0) return undefined;
  return { host: host.toLowerCase(), port };
}

/** 0: does not match; else larger is more specific. */
function scoreOf(pattern: string, { host, port }: Destination): number {
  const colon = pattern.lastIndexOf(':');
  const name = colon === -1 ? pattern : pattern.slice(0, colon);
  if (colon !== -1 && pattern.slice(colon + 1) !== port) return 0;
  const hasPort = colon === -1 ? 0 : 1;
  if (name === host) return 10_000 + hasPort;
  const isUnder =
    name.startsWith('*.') && host.length > name.length - 1 && host.endsWith(name.slice(1));
  return isUnder ? 2 * name.length + hasPort : 0;
}

const headerOf = (scheme: InjectionScheme): string =>
  scheme.kind === 'header' ? scheme.name : 'authorization';

function lineOf(scheme: InjectionScheme, { values }: Credential): Injected | undefined {
  const name = headerOf(scheme);
  const value = valueOf(scheme, values);
  return value === undefined || !isFieldValue(value) ? undefined : { name, value };
}

function valueOf(scheme: InjectionScheme, values: ReadonlyMap<string, Buffer>): string | undefined {
  switch (scheme.kind) {
    case 'header': {
      const value = textOf(values.get(scheme.key));
      return value === undefined ? undefined : `${scheme.prefix}${value}`;
    }
    case 'bearer': {
      const value = textOf(values.get(scheme.key));
      return value === undefined || value === '' ? undefined : `Bearer ${value}`;
    }
    case 'basic': {
      const user = textOf(values.get(scheme.userKey));
      const password = textOf(values.get(scheme.passwordKey));
      /** A colon would end the name early (RFC 7617 §2). */
      if (user === undefined || password === undefined || user.includes(':')) return undefined;
      return `Basic ${Buffer.from(`${user}:${password}`, 'latin1').toString('base64')}`;
    }
    default:
      return scheme satisfies never;
  }
}

/** As bytes, without the end of line that files and Secrets often have. */
function textOf(value: Buffer | undefined): string | undefined {
  const text = value?.toString('latin1');
  if (text === undefined) return undefined;
  if (text.endsWith('\r\n')) return text.slice(0, -2);
  return text.endsWith('\n') ? text.slice(0, -1) : text;
}

/** Neither a control character, which could begin another line, nor space around it (RFC 9110 §5.5). */
function isFieldValue(value: string): boolean {
  if (value === '' || value !== value.trim()) return false;
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) return false;
  }
  return true;
}
