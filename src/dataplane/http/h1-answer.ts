// The answers that the proxy gives itself.
import { STATUS_CODES } from 'node:http';
import { UNDELIVERED } from './h1-contract.ts';

export interface LocalAnswer {
  readonly status: number;
  readonly body: string;
  /** `[name, value, …]`. */
  readonly headers: readonly string[];
}

/** @returns head and body, each byte a character. */
export function writeAnswer(
  answer: LocalAnswer,
  how: {
    readonly isHead: boolean;
    readonly isClosing: boolean;
    /** The client is told that nothing of its request was processed. */
    readonly isUndelivered: boolean;
  },
): string {
  const body = Buffer.from(answer.body, 'utf8');
  let out = `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}\r\n`;
  if (!answer.headers.some((text, at) => at % 2 === 0 && text === 'content-type')) {
    out += 'content-type: text/plain\r\n';
  }
  out += `content-length: ${body.length}\r\n`;
  for (let at = 0; at + 1 < answer.headers.length; at += 2) {
    out += `${answer.headers[at]}: ${answer.headers[at + 1]}\r\n`;
  }
  if (how.isClosing) out += 'connection: close\r\n';
  if (how.isUndelivered) out += `connection: ${UNDELIVERED}\r\n`;
  out += '\r\n';
  return how.isHead ? out : out + body.toString('latin1');
}
