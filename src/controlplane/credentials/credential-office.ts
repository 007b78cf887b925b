// Everything that serving credentials takes, once anybody asks for it: sources, streams, audit, and what is said of bindings.
import type { Problem } from '@weft/model/problem';
import type { PolicyReport } from '../status/policy-status.ts';
import { AuditTrail, type KeptLine } from './audit-trail.ts';
import type { BindingIndex } from './binding-index.ts';
import { BindingLedger } from './binding-ledger.ts';
import { CredentialBroker } from './credential-broker.ts';
import { CredentialDesk } from './credential-desk.ts';
import type { CredentialPartOptions, CredentialState } from './credential-part.ts';
import { openConfiguredSources } from './sources/configured-sources.ts';
import type { CredentialSource } from './sources/source.ts';
import type { WatchCall } from './watch-call.ts';

export interface CredentialOfficeOptions extends Omit<CredentialPartOptions, 'server' | 'secrets'> {
  readonly index: BindingIndex;
  readonly secrets?: CredentialSource;
  /** What is said of bindings may be another. */
  readonly onChange: () => void;
}

export interface CredentialOffice extends AsyncDisposable {
  open(call: WatchCall): void;
  /** To be called when bindings or workloads may be others, or what other control planes say. */
  changed(): void;
  inForceAt(proxyId: string): readonly string[] | undefined;
  reports(): readonly PolicyReport[];
  problems(): readonly Problem[];
  state(): CredentialState;
  audit(): readonly KeptLine[];
}

/** @throws Error with the cure when a source cannot be opened. */
export async function openCredentialOffice(
  options: CredentialOfficeOptions,
): Promise<CredentialOffice> {
  const { configs, secrets, clock, log, index, views, peerOf, onChange } = options;
  const { elsewhere = () => [] } = options;
  const sources = await openConfiguredSources({ configs, clock, ...(secrets && { secrets }) });
  const broker = new CredentialBroker(sources);
  const audit = new AuditTrail({ log: log.child({ component: 'credential-audit' }), clock });
  const desk = new CredentialDesk({ peerOf, views, index, broker, audit, clock });
  const ledger = new BindingLedger({
    index,
    mesh: () => views.mesh(),
    desk,
    elsewhere,
    find({ namespace, credentials }, at) {
      const source = credentials[at]?.source;
      if (source === undefined) throw new RangeError(`Cannot find credential ${at} of a binding`);
      return broker.find(namespace, source);
    },
    clock,
    onChange,
  });
  const watched = desk.subscribe(() => ledger.soon());
  return {
    open: (call) => desk.open(call),
    changed() {
      desk.changed();
      ledger.soon();
    },
    inForceAt: (proxyId) => desk.inForceAt(proxyId),
    reports: () => ledger.reports(),
    problems: () => ledger.problems(),
    state: () => ({ streams: desk.size, places: broker.size, acts: audit.counts }),
    audit: () => audit.lines(),
    async [Symbol.asyncDispose]() {
      watched[Symbol.dispose]();
      ledger[Symbol.dispose]();
      await desk[Symbol.asyncDispose]();
    },
  };
}
