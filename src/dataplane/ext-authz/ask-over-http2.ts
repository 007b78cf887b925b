// Asks one question over HTTP/2 on a session of a cluster, which many questions share.
import http2, { type ClientHttp2Stream } from 'node:http2';
import type { Http2Upstream } from '../http2/http2-contract.ts';
import type { UpstreamSessions } from '../http2/upstream-sessions.ts';
import { failed, MAX_REPLY_BYTES, type Asked } from './reply.ts';

export interface Http2Question {
  /** Flat, pseudo-headers first. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | undefined;
}

/** Never rejects. What is not answered when the signal aborts has failed. */
export async function askOverHttp2(
  upstream: Http2Upstream,
  question: Http2Question,
  signal: AbortSignal,
): Promise<Asked> {
  const tried = new Set<UpstreamSessions>();
  for (let attempt = 0; attempt <= upstream.connectRetries; attempt++) {
    const sessions = upstream.pick(tried);
    if (sessions === undefined) break;
    tried.add(sessions);
    const stream = await open(sessions, question, signal);
    if (signal.aborted) {
      stream?.destroy();
      return failed('authorizer-timeout');
    }
    if (stream === undefined) {
      upstream.report(sessions, false);
      continue;
    }
    const asked = await converse(stream, question.body, signal);
    upstream.report(sessions, asked.ok);
    return asked;
  }
  return failed(tried.size === 0 ? 'no-healthy-upstream' : 'upstream-connect-failed');
}

/** @returns `undefined` when no connection could be made: nothing was sent then. */
function open(
  sessions: UpstreamSessions,
  { headers, body }: Http2Question,
  signal: AbortSignal,
): Promise<ClientHttp2Stream | undefined> {
  return new Promise((resolve) => {
    const giveUp = (): void => resolve(undefined);
    signal.addEventListener('abort', giveUp, { once: true });
    sessions.request([...headers], { endStream: body === undefined }).then(
      (stream) => {
        signal.removeEventListener('abort', giveUp);
        // A stream that fails before anybody listens must not take the process with it.
        stream.on('error', () => stream.destroy());
        if (signal.aborted) stream.close(http2.constants.NGHTTP2_CANCEL);
        resolve(stream);
      },
      () => {
        signal.removeEventListener('abort', giveUp);
        resolve(undefined);
      },
    );
  });
}

function converse(
  stream: ClientHttp2Stream,
  body: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<Asked> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let size = 0;
    let status = 0;
    let headers: readonly (readonly [string, string])[] = [];
    let trailers: readonly (readonly [string, string])[] = [];
    const settle = (asked: Asked): void => {
      signal.removeEventListener('abort', onAbort);
      if (!stream.destroyed && !asked.ok) stream.close(http2.constants.NGHTTP2_CANCEL);
      resolve(asked);
    };
    const onAbort = (): void => settle(failed('authorizer-timeout'));
    signal.addEventListener('abort', onAbort, { once: true });
    stream.on('wantTrailers', () => stream.sendTrailers({}));
    stream.on('response', (found, _flags, raw) => {
      status = found[':status'] ?? 0;
      headers = pairsOf(raw);
    });
    stream.on('trailers', (_found, _flags, raw) => {
      trailers = pairsOf(raw);
    });
    stream.on('data', (part: Buffer) => {
      size += part.length;
      if (size > MAX_REPLY_BYTES) settle(failed('authorizer-answer-bad'));
      else parts.push(part);
    });
    stream.on('close', () => {
      const isWhole = status !== 0 && stream.rstCode === http2.constants.NGHTTP2_NO_ERROR;
      const reply = { status, headers, body: Buffer.concat(parts), trailers };
      settle(isWhole ? { ok: true, reply } : failed('authorizer-reset'));
    });
    if (body !== undefined) stream.end(body);
    stream.resume();
  });
}

/** Without pseudo-headers. */
function pairsOf(raw: readonly string[] | undefined): readonly (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = [];
  if (raw === undefined) return pairs;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? '';
    if (!name.startsWith(':')) pairs.push([name, raw[at + 1] ?? '']);
  }
  return pairs;
}
