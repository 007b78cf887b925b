// Reads what a policy wants its refused callers to be told.
import { shown, type Reader } from './reader.ts';
import type { AuthorizationPolicy } from './types.ts';

const STATUS = 'weft.dev/denial-status';
const BODY = 'weft.dev/denial-body';
/** A text for people, or a small document. */
const MAX_BODY = 4_096;
const MIN_STATUS = 400;
const MAX_STATUS = 599;

/** @returns `undefined` when the policy says nothing of it. */
export function parseDenial(
  reader: Reader,
  annotations: ReadonlyMap<string, string>,
  action: AuthorizationPolicy['action'],
): AuthorizationPolicy['denial'] {
  const status = annotations.get(STATUS);
  const body = annotations.get(BODY);
  if (status === undefined && body === undefined) return undefined;
  const at = (key: string): string => `metadata.annotations.${key}`;
  if (action !== 'ALLOW' && action !== 'DENY') {
    const field = at(status === undefined ? BODY : STATUS);
    reader.error(field, 'denial-action', `goes with ALLOW and DENY, not ${action}`, 'remove it');
  }
  const code = Number(status ?? MIN_STATUS);
  if (!Number.isInteger(code) || code < MIN_STATUS || code > MAX_STATUS) {
    const message = `${shown(status ?? '')} is no status of a refusal`;
    reader.error(at(STATUS), 'bad-status', message, `write ${MIN_STATUS} to ${MAX_STATUS}`);
  }
  if (body !== undefined && body.length > MAX_BODY) {
    const message = `has ${body.length} characters, at most ${MAX_BODY} are allowed`;
    reader.error(at(BODY), 'too-long', message);
  }
  if (body !== undefined && !isText(body)) {
    reader.error(at(BODY), 'bad-text', 'holds control characters', 'write plain text');
  }
  return { ...(status !== undefined && { status: code }), ...(body !== undefined && { body }) };
}

const isText = (text: string): boolean =>
  text !== '' &&
  text.isWellFormed() &&
  Array.from(text).every(
    (char) => char === '\n' || char === '\t' || (char >= ' ' && char !== '\u007f'),
  );
