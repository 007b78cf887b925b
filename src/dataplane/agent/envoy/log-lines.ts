// Turns what an Envoy writes into the agent's own log: its log lines by level, and its access log in the words of Weft's sidecar.
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import type { Logger } from 'pino';

/** How Envoy is told to write its log; `%j` is the message as a part of JSON text. */
export const LOG_FORMAT = '{"weft":"log","level":"%l","logger":"%n","text":"%j"}';

/** Longer texts are cut: a line stays a line. */
const MAX_TEXT = 4_096;

const LEVELS: ReadonlyMap<unknown, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'> =
  new Map([
    ['trace', 'trace'],
    ['debug', 'debug'],
    ['info', 'info'],
    ['warning', 'warn'],
    ['error', 'error'],
    ['critical', 'fatal'],
  ]);

/** @returns a function that takes one line. */
export function createLineLog(log: Logger): (line: string) => void {
  const envoy = log.child({ component: 'envoy' });
  const access = log.child({ component: 'access' });
  return (line) => {
    if (line === '') return;
    const read = readLine(line);
    if (read?.['weft'] === 'access') {
      access.info(accessFields(read), 'access');
      return;
    }
    if (read?.['weft'] === 'log') {
      const level = LEVELS.get(read['level']) ?? 'warn';
      envoy[level]({ logger: read['logger'], text: cut(String(read['text'])) }, 'envoy says');
      return;
    }
    /** The last words of one that crashed, and whatever was written past the log. */
    envoy.warn({ text: cut(line) }, 'envoy says');
  };
}

const cut = (text: string): string =>
  text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;

function readLine(line: string): PlainObject | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return isPlainObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const DENIED = 'rbac_access_denied_matched_policy[';
const NO_POLICY = 'none';

interface Decision {
  readonly decision: 'allow' | 'deny' | 'none';
  readonly decisionReason?: 'allow-rule' | 'deny-rule' | 'no-allow-match';
  readonly policy?: string;
}

/**
 * Envoy says of a refusal which rule it was, or `none` where no ALLOW rule matched; of what it let pass, which rule
 * its last filter of rules went by.
 */
function decisionOf(line: PlainObject): Decision {
  const details = textOf(line['details']) ?? '';
  const policy = textOf(line['policy']);
  const at = details.indexOf(DENIED);
  if (at !== -1) {
    const end = details.lastIndexOf(']');
    const rule = details.slice(at + DENIED.length, end === -1 ? undefined : end);
    if (rule === NO_POLICY || rule === '')
      return { decision: 'deny', decisionReason: 'no-allow-match' };
    return { decision: 'deny', decisionReason: 'deny-rule', policy: rule };
  }
  if (textOf(line['decision']) === 'allowed' && policy !== undefined && policy !== NO_POLICY)
    return { decision: 'allow', decisionReason: 'allow-rule', policy };
  return textOf(line['decision']) === 'allowed' ? { decision: 'allow' } : { decision: 'none' };
}

/** Envoy writes `-`, or JSON's null, for what there is not. */
const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '-' && value !== '' ? value : undefined;
const numberOf = (value: unknown): number => (typeof value === 'number' ? value : 0);

const PROTOCOLS: ReadonlyMap<unknown, string> = new Map([
  ['HTTP/1.0', 'http1'],
  ['HTTP/1.1', 'http1'],
  ['HTTP/2', 'http2'],
]);

function accessFields(line: PlainObject): object {
  const protocol = PROTOCOLS.get(line['protocol']) ?? 'tcp';
  return {
    direction: textOf(line['direction']),
    protocol,
    source: textOf(line['source']) ?? '',
    sourceIp: textOf(line['sourceIp']) ?? '',
    destinationPort: Number(line['port']),
    upstream: textOf(line['upstream']) ?? '',
    cluster: textOf(line['cluster']),
    ...decisionOf(line),
    reasonCode: textOf(line['flags']) ?? '',
    details: textOf(line['details']),
    bytesReceived: numberOf(line['received']),
    bytesSent: numberOf(line['sent']),
    durationMs: numberOf(line['duration']),
    ...(protocol !== 'tcp' && {
      requestId: textOf(line['id']) ?? '',
      method: textOf(line['method']) ?? '',
      path: textOf(line['path']) ?? '',
      authority: textOf(line['authority']) ?? '',
      status: numberOf(line['status']),
      grpcStatus: typeof line['grpc'] === 'number' ? String(line['grpc']) : '',
    }),
  };
}
