// Makes the application's probes from inside its Pod: only those that were configured, one of each at a time.
import http from 'node:http';
import net from 'node:net';
import { type AppProbe, type AppProbes, type HttpProbe, requestPath } from './app-probe.ts';
import { checkGrpcHealth } from './grpc-health.ts';
import { unverifiedHttps } from './unverified-https.ts';

/** What the kubelet is told: a status of 400 or more is a failure. */
export interface ProbeAnswer {
  readonly status: number;
  readonly reason: string;
}

export interface AppProberOptions {
  readonly probes: AppProbes;
  /** The kubelet asks the Pod's address, and so does this: what listens on loopback alone was not reachable either. */
  readonly podIp: string;
}

const FAILED = 503;
const PASSED: ProbeAnswer = { status: 200, reason: 'ok' };
/** As many as the kubelet follows. */
const MAX_REDIRECTS = 10;
/** How much of an answer's body is waited for; an application that sends more is alive all the same. */
const MAX_BODY_BYTES = 10 * 1_024;

export class AppProber {
  readonly #options: AppProberOptions;
  readonly #underway = new Map<string, Promise<ProbeAnswer>>();

  constructor(options: AppProberOptions) {
    this.#options = options;
  }

  /**
   * @param key `CONTAINER/KIND`.
   * @returns the answer of the probe that is under way, or of a new one; `undefined` when there is no such probe.
   */
  probe(key: string): Promise<ProbeAnswer> | undefined {
    const running = this.#underway.get(key);
    if (running !== undefined) return running;
    const probe = this.#options.probes.get(key);
    if (probe === undefined) return undefined;
    const answer = makeProbe(probe, this.#options.podIp).finally(() => this.#underway.delete(key));
    this.#underway.set(key, answer);
    return answer;
  }
}

function makeProbe(probe: AppProbe, podIp: string): Promise<ProbeAnswer> {
  switch (probe.kind) {
    case 'http':
      return probeHttp(probe, { podIp, endsAtMs: performance.now() + probe.timeoutMs });
    case 'tcp':
      return probeTcp(probe, podIp);
    case 'grpc':
      return probeGrpc(probe, podIp);
    default:
      return probe satisfies never;
  }
}

const failed = (reason: string): ProbeAnswer => ({ status: FAILED, reason });
const late = (timeoutMs: number): ProbeAnswer => failed(`no answer within ${timeoutMs / 1_000} s`);

function probeTcp(probe: { port: number; timeoutMs: number }, podIp: string): Promise<ProbeAnswer> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: podIp, port: probe.port });
    const end = (answer: ProbeAnswer): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end(late(probe.timeoutMs)), probe.timeoutMs);
    socket.once('connect', () => end(PASSED));
    socket.on('error', (error) => end(failed(error.message)));
  });
}

async function probeGrpc(
  probe: { port: number; service: string; timeoutMs: number },
  podIp: string,
): Promise<ProbeAnswer> {
  const { port, service, timeoutMs } = probe;
  const wrong = await checkGrpcHealth({ address: podIp, port, service, timeoutMs });
  return wrong === undefined ? PASSED : failed(wrong);
}

interface Course {
  readonly podIp: string;
  readonly endsAtMs: number;
}

type Target = Pick<HttpProbe, 'scheme' | 'port' | 'path'>;

/** Redirects within the Pod are followed, as the kubelet does; one that leads elsewhere counts as success. */
async function probeHttp(
  probe: HttpProbe & { readonly timeoutMs: number },
  course: Course,
): Promise<ProbeAnswer> {
  let target: Target = probe;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const answer = await ask(probe, target, course);
    if (answer.kind === 'none') {
      return answer.isLate ? late(probe.timeoutMs) : failed(answer.reason);
    }
    const { status, location } = answer;
    if (status >= 400) return { status, reason: `the application answered ${status}` };
    if (status < 300) return PASSED;
    const next = redirectWithin(location, target, course.podIp);
    if (next === undefined) return PASSED;
    target = next;
  }
  return failed(`more than ${MAX_REDIRECTS} redirects`);
}

type Asked =
  | { readonly kind: 'answer'; readonly status: number; readonly location: string | undefined }
  | { readonly kind: 'none'; readonly isLate: boolean; readonly reason: string };

function ask(probe: HttpProbe, target: Target, course: Course): Promise<Asked> {
  const { podIp, endsAtMs } = course;
  const { promise, resolve } = Promise.withResolvers<Asked>();
  const options = {
    host: podIp,
    port: target.port,
    path: target.path,
    headers: headersOf(probe, target, podIp),
    agent: false,
  };
  const request = target.scheme === 'HTTPS' ? unverifiedHttps(options) : http.request(options);
  const end = (asked: Asked): void => {
    clearTimeout(timer);
    request.destroy();
    resolve(asked);
  };
  const timer = setTimeout(
    () => end({ kind: 'none', isLate: true, reason: '' }),
    Math.max(endsAtMs - performance.now(), 0),
  );
  request.on('error', (error) => end({ kind: 'none', isLate: false, reason: error.message }));
  request.on('response', (response) => {
    const { statusCode: status = FAILED } = response;
    const done = (): void => end({ kind: 'answer', status, location: response.headers.location });
    let size = 0;
    response.on('data', (part: Buffer) => {
      size += part.length;
      if (size > MAX_BODY_BYTES) done();
    });
    response.on('end', done);
    response.on('error', (error) => end({ kind: 'none', isLate: false, reason: error.message }));
  });
  request.end();
  return promise;
}

function headersOf(
  probe: HttpProbe,
  target: Target,
  podIp: string,
): Record<string, string | string[]> {
  const host = podIp.includes(':') ? `[${podIp}]` : podIp;
  const own: readonly (readonly [string, string])[] = [
    ['host', `${host}:${target.port}`],
    ['user-agent', 'kube-probe/weft'],
    ['accept', '*/*'],
    ['connection', 'close'],
  ];
  const headers = new Map<string, string[]>();
  for (const { name, value } of probe.headers) {
    const key = name.toLowerCase();
    headers.set(key, [...(headers.get(key) ?? []), value]);
  }
  for (const [name, value] of own) if (!headers.has(name)) headers.set(name, [value]);
  /** Where a header may come but once the first one holds. */
  return Object.fromEntries(
    [...headers].map(([name, values]) => [
      name,
      name === 'host' || values.length === 1 ? (values[0] ?? '') : values,
    ]),
  );
}

/** @returns where a redirect leads when that is this Pod: a path, or a URI with the Pod's own address. */
export function redirectWithin(
  location: string | undefined,
  from: Target,
  podIp: string,
): Target | undefined {
  if (location === undefined) return undefined;
  if (location.startsWith('/') && !location.startsWith('//')) {
    const { scheme, port } = from;
    return { scheme, port, path: requestPath(location) };
  }
  for (const [prefix, scheme, standard] of SCHEMES) {
    if (!location.startsWith(prefix)) continue;
    const rest = location.slice(prefix.length);
    const slash = rest.indexOf('/');
    const authority = slash === -1 ? rest : rest.slice(0, slash);
    const path = slash === -1 ? '/' : requestPath(rest.slice(slash));
    const host = podIp.includes(':') ? `[${podIp}]` : podIp;
    if (authority === host) return { scheme, port: standard, path };
    if (!authority.startsWith(`${host}:`)) return undefined;
    const port = Number(authority.slice(host.length + 1));
    return Number.isInteger(port) && port >= 1 && port <= 65_535
      ? { scheme, port, path }
      : undefined;
  }
  return undefined;
}

const SCHEMES = [
  ['http://', 'HTTP', 80],
  ['https://', 'HTTPS', 443],
] as const;
