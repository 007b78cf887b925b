// Reads what a transparency log answered when a signature was entered, as cosign keeps it beside the signature.
import type { TransparencyLogEntry } from '@sigstore/bundle';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';

/** The promise to enter it, and what was promised. @returns `undefined` when it is none. */
export function readLogEntry(kept: PlainObject | undefined): TransparencyLogEntry | undefined {
  const payload = isPlainObject(kept?.['Payload']) ? kept['Payload'] : {};
  const promise = kept?.['SignedEntryTimestamp'];
  const { body, integratedTime, logIndex, logID } = payload;
  if (typeof body !== 'string' || typeof promise !== 'string' || typeof logID !== 'string') {
    return undefined;
  }
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

function kindOf(body: Buffer): { readonly kind: string; readonly version: string } | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    if (!isPlainObject(value)) return undefined;
    return { kind: String(value['kind']), version: String(value['apiVersion']) };
  } catch {
    return undefined;
  }
}
