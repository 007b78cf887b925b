// An HTTP proxy for the workload's own calls: each request goes to the service that its Host names.
import type { Socket } from 'node:net';
import { ConnectionFacts, type RequestHead } from '../filters/connection-facts.ts';
import type { HttpSession } from '../filters/http-session.ts';
import { Http1Connection, type Http1Action } from '../http/http1-proxy.ts';
import { selectChain, type HttpRuntime } from '../state/chain.ts';
import type { OpenConnections } from '../state/open-connections.ts';
import { DEMAND_TIMEOUT_MS } from './outbound.ts';
import {
  createSession,
  finishedOf,
  http1Action,
  onDecision,
  takeDecision,
  type Decisions,
} from './serve-http.ts';
import type { Traffic } from './traffic.ts';

export interface HttpForwarderOptions {
  readonly traffic: Traffic;
  readonly open: OpenConnections;
  /** Turns a Host's name into a service's host; `undefined` when it can be none. */
  readonly hostOf: (name: string) => string | undefined;
  /** Whether a listener's name is one of hosts outside the mesh. */
  readonly isOutside: (name: string) => boolean;
}

/** Destinations that one connection of a client may have sessions for. */
const MAX_SESSIONS = 256;
const IDLE_TIMEOUT_MS = 3_600_000;
const HEAD_TIMEOUT_MS = 10_000;
const HTTP_PORT = 80;

export function createHttpForwarder(options: HttpForwarderOptions): (socket: Socket) => void {
  return (socket) => {
    const exchange = new ForwarderConnection(socket, options);
    const connection = new Http1Connection(
      socket,
      {
        onRequest: (head) => exchange.onRequest(head),
        isStillAllowed: () => true,
        onComplete: (completion) => exchange.onComplete(completion),
        onClose: () => options.open.delete(entry),
      },
      {
        idleTimeoutMs: IDLE_TIMEOUT_MS,
        headTimeoutMs: HEAD_TIMEOUT_MS,
        responseTimeoutMs: 0,
        allowAbsoluteForm: true,
        upgrades: ['websocket'],
      },
    );
    const entry = {
      rejudge: () => undefined,
      cut: () => connection.cut(),
      drain: () => connection.drain(),
    };
    options.open.add(entry);
    socket.once('close', () => options.open.delete(entry));
  };
}

type Completion = Parameters<ConstructorParameters<typeof Http1Connection>[1]['onComplete']>[0];

class ForwarderConnection {
  readonly #options: HttpForwarderOptions;
  readonly #socket: Socket;
  readonly #sessions = new Map<string, HttpSession>();
  readonly #decisions: Decisions = new Map();
  readonly #sessionOf = new WeakMap<RequestHead, HttpSession>();

  constructor(socket: Socket, options: HttpForwarderOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  onRequest(head: RequestHead): Http1Action | Promise<Http1Action> {
    const target = parseAuthority(head.authority);
    const host = target && this.#options.hostOf(target.name);
    if (target === undefined || host === undefined) return refuse(400, 'bad-host');
    return this.#toFirst(head, namesFor(target.name, host), target.port);
  }

  /** A Service comes before a host outside that is written like it. */
  #toFirst(
    head: RequestHead,
    hosts: readonly string[],
    port: number,
  ): Http1Action | Promise<Http1Action> {
    for (const host of hosts) {
      const name = `outbound|${port}||${host}`;
      const runtime = this.#runtimeOf(name);
      if (runtime !== undefined) return this.#forward(head, name, runtime, port);
      const { store } = this.#options.traffic;
      if (!store.isAbsent(name)) return this.#afterDemand(head, { hosts, host, port });
    }
    return this.#unknown(hosts, port);
  }

  #unknown(hosts: readonly string[], port: number): Http1Action {
    const [first = '', last = first] = hosts;
    const { traffic, isOutside } = this.#options;
    const reasonCode = 'egress-not-registered';
    if (isOutside(`outbound|${port}||${last}`)) {
      traffic.edges.refusals.note({ host: last, port, reasonCode });
    }
    return isOutside(`outbound|${port}||${first}`)
      ? refuse(502, `${reasonCode}: ${first}:${port}`)
      : refuse(502, `unknown-destination: no service ${first}:${port}`);
  }

  async #afterDemand(
    head: RequestHead,
    asked: { readonly hosts: readonly string[]; readonly host: string; readonly port: number },
  ): Promise<Http1Action> {
    const { hosts, host, port } = asked;
    const { store } = this.#options.traffic;
    const name = `outbound|${port}||${host}`;
    const state = await store.demand(name, AbortSignal.timeout(DEMAND_TIMEOUT_MS));
    if (state === 'absent') return this.#toFirst(head, hosts, port);
    if (state === 'pending') return refuse(503, 'no-configuration');
    const runtime = this.#runtimeOf(name);
    return runtime === undefined
      ? refuse(502, 'destination-is-not-http')
      : this.#forward(head, name, runtime, port);
  }

  #runtimeOf(name: string): HttpRuntime | undefined {
    const listener = this.#options.traffic.store.destination(name);
    if (listener === undefined) return undefined;
    const chain = selectChain(
      listener,
      { address: '', port: 0 },
      { transport: 'raw_buffer', applicationProtocols: ['http/1.1'], serverName: undefined },
    );
    return chain?.http;
  }

  #forward(
    head: RequestHead,
    name: string,
    runtime: HttpRuntime,
    port: number,
  ): Http1Action | Promise<Http1Action> {
    let session = this.#sessions.get(name);
    if (session === undefined) {
      if (this.#sessions.size >= MAX_SESSIONS) this.#sessions.clear();
      session = createSession(
        { facts: this.#facts(port), peer: undefined },
        runtime,
        { traffic: this.#options.traffic, isInbound: false },
        'http1',
      );
      this.#sessions.set(name, session);
    } else session.setRuntime(runtime);
    this.#sessionOf.set(head, session);
    const serving = { traffic: this.#options.traffic, isInbound: false };
    return onDecision(session, this.#decisions, head, (decided) =>
      http1Action(decided, serving, head),
    );
  }

  #facts(port: number): ConnectionFacts {
    return new ConnectionFacts(
      {
        sourceAddress: this.#socket.remoteAddress ?? '',
        sourcePort: this.#socket.remotePort ?? 0,
        destinationAddress: '',
        destinationPort: port,
        serverName: '',
      },
      undefined,
    );
  }

  onComplete(completion: Completion): void {
    const { head } = completion;
    const session = head === undefined ? undefined : this.#sessionOf.get(head);
    const decision = takeDecision(this.#decisions, head);
    if (session === undefined) {
      this.#options.traffic.metrics.refused('outbound', completion.reasonCode || 'no-session');
      return;
    }
    session.finish(finishedOf(completion, decision));
  }
}

/** A name of two labels may be a Service of another namespace, and a host outside. */
function namesFor(name: string, serviceHost: string): readonly string[] {
  const literal = (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
  return literal.includes('.') && literal !== serviceHost ? [serviceHost, literal] : [serviceHost];
}

const refuse = (status: number, reasonCode: string): Http1Action => ({
  kind: 'respond',
  status,
  body: `${reasonCode}\n`,
  reasonCode: reasonCode.split(':')[0] ?? reasonCode,
  headers: [],
});

/** `name`, `name:port`; addresses are not names here. */
function parseAuthority(
  authority: string,
): { readonly name: string; readonly port: number } | undefined {
  const colon = authority.lastIndexOf(':');
  if (colon === -1) return authority === '' ? undefined : { name: authority, port: HTTP_PORT };
  const digits = authority.slice(colon + 1);
  const port = Number(digits);
  const isPort = digits.length > 0 && digits.length <= 5 && Number.isInteger(port) && port > 0;
  if (!isPort || port > 65_535 || colon === 0) return undefined;
  return { name: authority.slice(0, colon), port };
}
