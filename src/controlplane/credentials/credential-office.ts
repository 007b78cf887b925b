// Everything that serving credentials takes, once anybody asks for it: sources, streams, audit, and what is said of bindings.
import type { Problem } from '@weft/model/problem';
import type { CredentialBinding } from '@weft/model/credentials/types';
import type { PolicyReport } from '../status/policy-status.ts';
import { AuditTrail, type KeptLine } from './audit-trail.ts';
import type { BindingIndex } from './binding-index.ts';
import {
  bindingState,
  type BindingState,
  reportOf,
  workloadsWithBindings,
} from './binding-reports.ts';
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

/** Proxies answer by the thousand after a rotation; what is said of bindings is found out anew for all of them. */
const SETTLE_MS = 100;

export interface CredentialOffice extends AsyncDisposable {
  open(call: WatchCall): void;
  /** To be called when bindings or workloads may be others. */
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
  let telling: Disposable | undefined;
  const watched = desk.subscribe(() => {
    telling ??= clock.setTimeout(() => {
      telling = undefined;
      onChange();
    }, SETTLE_MS);
  });
  const since = new Map<string, { readonly isEnforced: boolean; readonly at: string }>();
  const find = ({ namespace, credentials }: CredentialBinding, at: number) => {
    const source = credentials[at]?.source;
    if (source === undefined) throw new RangeError(`Cannot find credential ${at} of a binding`);
    return broker.find(namespace, source);
  };
  const states = (): readonly (readonly [CredentialBinding, BindingState])[] => {
    const workloads = workloadsWithBindings(views.mesh(), index);
    return index.all().map((binding) => {
      const own = workloads.get(binding.namespace) ?? [];
      return [binding, bindingState(binding, { index, workloads: own, desk, elsewhere, find })];
    });
  };
  return {
    open: (call) => desk.open(call),
    changed: () => desk.changed(),
    inForceAt: (proxyId) => desk.inForceAt(proxyId),
    reports() {
      const seen = new Set<string>();
      const reports = states().map(([binding, { enforced }]) => {
        const key = `${binding.namespace}/${binding.name}`;
        seen.add(key);
        const isEnforced = enforced.every((one) => one.enforced);
        const before = since.get(key);
        const now = new Date(clock.now()).toISOString();
        const at = before?.isEnforced === isEnforced ? before.at : now;
        since.set(key, { isEnforced, at });
        return reportOf(binding, enforced, at);
      });
      for (const key of since.keys()) if (!seen.has(key)) since.delete(key);
      return reports;
    },
    problems: () => states().flatMap(([, { problems }]) => problems),
    state: () => ({ streams: desk.size, places: broker.size, acts: audit.counts }),
    audit: () => audit.lines(),
    async [Symbol.asyncDispose]() {
      watched[Symbol.dispose]();
      telling?.[Symbol.dispose]();
      await desk[Symbol.asyncDispose]();
    },
  };
}
