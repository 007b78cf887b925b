// Owns one proxy's stream: at each message it is judged anew who it is and what it is granted, and told what differs from what it has.
import { status } from '@grpc/grpc-js';
import type { Peer } from '@weft/ca/server-credentials';
import type { Clock } from '@weft/model/clock';
import { credentialText, type Grant } from '@weft/model/credentials/grants';
import type { Workload } from '@weft/model/mesh/mesh';
import type { PlainMessage } from '@weft/xds/registry';
import type { ProxyRef, ProxyResolution } from '../serve/view-source.ts';
import type { AuditLine, AuditTrail } from './audit-trail.ts';
import type { BindingIndex } from './binding-index.ts';
import type { CredentialBroker, FollowedPlace, PlaceState } from './credential-broker.ts';
import { type Granted, grantedCredential } from './granted-credential.ts';
import type { WatchCall } from './watch-call.ts';
import type { HandOver, WatchRequest } from './watch-request.ts';

export interface WatchStreamOptions {
  readonly call: WatchCall;
  readonly peer: Extract<Peer, { readonly ok: true }>;
  readonly proxy: ProxyRef;
  /** Whether it still is the proxy that it was. */
  readonly resolve: () => ProxyResolution;
  readonly workload: () => Workload | undefined;
  readonly index: BindingIndex;
  readonly broker: CredentialBroker;
  readonly audit: AuditTrail;
  readonly clock: Clock;
  /** Asks for a `refresh`, soon. */
  readonly soon: () => void;
}

interface Entry {
  readonly grant: Grant;
  readonly text: string;
  readonly place: FollowedPlace;
  /** What was made of which state of the place. */
  made: { readonly of: PlaceState; readonly granted: Granted } | undefined;
}

/** Values in one reply; one credential has half of it at most. */
const MAX_REPLY_BYTES = 524_288;

export class WatchStream {
  readonly proxy: ProxyRef;
  readonly #options: WatchStreamOptions;
  readonly #peer: string;
  readonly #entries = new Map<string, Entry>();
  /** Versions that the proxy has, by name. */
  readonly #sent: Map<string, string>;
  /** Whose grant each name was, for the line of its withdrawal. */
  readonly #bindings = new Map<string, string>();
  #inForce: ReadonlyMap<string, string> = new Map();
  #workload: Workload | undefined;
  #indexVersion = -1;
  #unavailable = '[]';
  #isCompleteSaid = false;
  #isEnded = false;

  constructor(options: WatchStreamOptions, first: WatchRequest) {
    this.proxy = options.proxy;
    this.#options = options;
    this.#peer = options.call.getPeer();
    this.#sent = new Map(first.held);
    options.call.on('drain', options.soon);
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Whether its workload or the bindings are others than it was told by. */
  get isStale(): boolean {
    const { workload, index } = this.#options;
    return index.version !== this.#indexVersion || workload() !== this.#workload;
  }

  /** Of a name that it is granted. */
  grantedAt(name: string): Granted | undefined {
    const entry = this.#entries.get(name);
    return entry && grantedBy(entry);
  }

  hasInForce(name: string, version: string): boolean {
    return this.#inForce.get(name) === version;
  }

  /** Sorted. */
  namesInForce(): readonly string[] {
    return [...this.#entries.keys()].toSorted().filter((name) => {
      const granted = this.grantedAt(name);
      return granted?.kind === 'values' && this.hasInForce(name, granted.version);
    });
  }

  note(request: WatchRequest): void {
    this.#inForce = request.inForce;
    for (const handOver of request.handOvers) this.#auditHandOver(handOver);
  }

  #auditHandOver({ name, version, way, receiver, count }: HandOver): void {
    const binding = this.#bindings.get(name);
    // What was never given is nobody's to give on: it is not written down as if it had been.
    if (binding === undefined && !this.#sent.has(name)) return;
    this.#audit({
      act: 'handed-on',
      credential: name,
      version,
      way,
      receiver,
      count,
      ...(binding !== undefined && { binding }),
    });
  }

  /** Tells what differs. Nothing is said while the proxy does not read. */
  refresh(): void {
    if (this.#isEnded) return;
    const { call, peer, clock, resolve, workload, index } = this.#options;
    if (clock.now() >= peer.notAfterUnixSeconds * 1_000) {
      this.end(status.UNAUTHENTICATED, 'the certificate has expired; connect with a new one');
      return;
    }
    const resolution = resolve();
    if (!resolution.ok) {
      this.#withdrawAll('its identity or its Pod is gone');
      this.end(status.PERMISSION_DENIED, resolution.reason);
      return;
    }
    if (call.writableNeedDrain) return;
    this.#workload = workload();
    this.#indexVersion = index.version;
    this.#reconcile();
    this.#tell();
  }

  /** Follows the places of what is granted now, and no others. */
  #reconcile(): void {
    const { index, broker, soon } = this.#options;
    const grants = this.#workload === undefined ? undefined : index.grantsOf(this.#workload).byName;
    for (const [name, entry] of this.#entries) {
      const grant = grants?.get(name);
      if (grant !== undefined && credentialText(grant.credential) === entry.text) continue;
      this.#entries.delete(name);
      entry.place[Symbol.dispose]();
    }
    for (const [name, grant] of grants ?? []) {
      const known = this.#entries.get(name);
      this.#bindings.set(name, bindingOf(grant));
      if (known !== undefined) continue;
      const { binding, credential } = grant;
      const place = broker.follow(binding.namespace, credential.source, soon);
      this.#entries.set(name, { grant, text: credentialText(credential), place, made: undefined });
    }
  }

  #tell(): void {
    const credentials: PlainMessage[] = [];
    const lines: AuditLine[] = [];
    const unavailable: PlainMessage[] = [];
    let isComplete = true;
    for (const [name, entry] of this.#entries) {
      const { grant } = entry;
      const granted = grantedBy(entry);
      switch (granted.kind) {
        case 'pending':
          isComplete = false;
          break;
        case 'unavailable':
          unavailable.push({ name, reason: granted.reason });
          break;
        case 'gone':
          break;
        case 'values': {
          const { version, unavailable: reason } = granted;
          if (reason !== undefined) unavailable.push({ name, reason });
          if (this.#sent.get(name) === version) break;
          credentials.push(granted.message());
          this.#sent.set(name, version);
          const ways = grant.credential.ways.join(',');
          lines.push(this.#line({ act: 'handed-over', credential: name, version, way: ways }));
          break;
        }
        default:
          granted satisfies never;
      }
    }
    const removed = this.#takeWithdrawn(lines);
    const isNewlyComplete = isComplete && !this.#isCompleteSaid;
    const unavailableText = JSON.stringify(unavailable);
    const isSilent = credentials.length + removed.length === 0 && !isNewlyComplete;
    if (isSilent && unavailableText === this.#unavailable) return;
    this.#isCompleteSaid ||= isComplete;
    this.#unavailable = unavailableText;
    this.#write({ credentials, removed, unavailable, isComplete });
    for (const line of lines) this.#options.audit.write(line);
  }

  /** Of what the proxy has, all that is neither granted and there, nor still to be read. */
  #takeWithdrawn(lines: AuditLine[]): readonly string[] {
    const removed: string[] = [];
    for (const [name, version] of this.#sent) {
      const entry = this.#entries.get(name);
      const granted = entry && grantedBy(entry);
      if (granted !== undefined && granted.kind !== 'gone') continue;
      this.#sent.delete(name);
      removed.push(name);
      const reason = granted === undefined ? 'it is not granted any more' : granted.reason;
      lines.push(this.#line({ act: 'withdrawn', credential: name, version, reason }));
      if (granted === undefined) this.#bindings.delete(name);
    }
    return removed;
  }

  #withdrawAll(reason: string): void {
    const removed = [...this.#sent.keys()];
    if (removed.length === 0) return;
    this.#options.call.write({ removed });
    for (const [credential, version] of this.#sent) {
      this.#audit({ act: 'withdrawn', credential, version, reason });
    }
    this.#sent.clear();
  }

  #write(reply: {
    readonly credentials: readonly PlainMessage[];
    readonly removed: readonly string[];
    readonly unavailable: readonly PlainMessage[];
    readonly isComplete: boolean;
  }): void {
    const { credentials, removed, unavailable, isComplete } = reply;
    const { call } = this.#options;
    const parts = inParts(credentials);
    const last = parts.pop() ?? [];
    // What is withdrawn goes first, whatever else there is to say.
    parts.forEach((part, at) => {
      call.write({ credentials: part, unavailable, ...(at === 0 && { removed }) });
    });
    call.write({
      credentials: last,
      unavailable,
      is_complete: isComplete,
      ...(parts.length === 0 && { removed }),
    });
  }

  #line(line: Omit<AuditLine, 'identity' | 'proxy' | 'peer' | 'binding'>): AuditLine {
    const binding = line.credential === undefined ? undefined : this.#bindings.get(line.credential);
    const { identity, id: proxy } = this.proxy;
    return {
      identity,
      proxy,
      peer: this.#peer,
      ...(binding !== undefined && { binding }),
      ...line,
    };
  }

  #audit(line: Omit<AuditLine, 'identity' | 'proxy' | 'peer'>): void {
    this.#options.audit.write(this.#line(line));
  }

  /** Once; later calls do nothing. What the proxy has it keeps: a new stream begins with it. */
  end(code: status, details: string): void {
    this.closed();
    if (code === status.OK) this.#options.call.end();
    else this.#options.call.emit('error', { code, details: details.toWellFormed() });
  }

  /** Its places are followed for others alone. */
  closed(): void {
    this.#isEnded = true;
    for (const { place } of this.#entries.values()) place[Symbol.dispose]();
    this.#entries.clear();
  }
}

function grantedBy(entry: Entry): Granted {
  const { state } = entry.place;
  if (entry.made?.of !== state) {
    entry.made = { of: state, granted: grantedCredential(entry.grant, state) };
  }
  return entry.made.granted;
}

const bindingOf = ({ binding }: Grant): string => `${binding.namespace}/${binding.name}`;

function inParts(credentials: readonly PlainMessage[]): PlainMessage[][] {
  const parts: PlainMessage[][] = [];
  let bytes = MAX_REPLY_BYTES;
  for (const credential of credentials) {
    const size = sizeOf(credential);
    if (bytes + size > MAX_REPLY_BYTES) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(credential);
    bytes += size;
  }
  return parts;
}

function sizeOf({ values }: PlainMessage): number {
  let bytes = 0;
  for (const value of Object.values(values ?? {})) {
    if (value instanceof Uint8Array) bytes += value.byteLength;
  }
  return bytes;
}
