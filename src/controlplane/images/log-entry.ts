// Reads what a transparency log answered when a signature was entered, as cosign keeps it beside the signature.
import type { TransparencyLogEntry } from '@sigstore/bundle';
import { parseJsonObject } from '@weft/model/parse-json-object';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';

/** The promise to enter it, and what was promised. @returns `undefined` when it is none. */
export function readLogEntry(kept: PlainObject | undefined): TransparencyLogEntry | undefined {
  const payload = isPlainObject(kept?.['Payload']) ? kept['Payload'] : {};
  const promise = kept?.['SignedEntryTimestamp'];
  const { body, integratedTime, logIndex, logID } = payload;
  if (typeof body !== 'string' || typeof promise !== 'string' || typeof logID !== 'string') {
    return undefined;
  }
  if (!isWritten(integratedTime) || !isWritten(logIndex)) return undefined;
  const canonicalizedBody = Buffer.from(body, 'base64');
  const kindVersion = kindOf(canonicalizedBody);
  return (
    kindVersion && {
      logIndex: String(logIndex),
      logId: { keyId: Buffer.from(logID, 'hex') },
      kindVersion,
      integratedTime: String(integratedTime),
      inclusionPromise: { signedEntryTimestamp: Buffer.from(promise, 'base64') },
      inclusionProof: undefined,
      canonicalizedBody,
    }
  );
}

const isWritten = (value: unknown): value is number | string =>
  typeof value === 'number' || typeof value === 'string';

function kindOf(body: Buffer): { readonly kind: string; readonly version: string } | undefined {
  const { kind, apiVersion } = parseJsonObject(body.toString('utf8')) ?? {};
  return typeof kind === 'string' && typeof apiVersion === 'string'
    ? { kind, version: apiVersion }
    : undefined;
}
