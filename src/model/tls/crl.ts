// Lists of revoked certificates: when they were made, how long they hold, and whom they name.
import { DerReader, MalformedDer, readTime } from '../x509.ts';
import { withoutLeadingZeros } from './parse-client-certificates.ts';

/** 100,000 revoked certificates; DER readers take 16 MB at most. */
const MAX_REVOKED = 100_000;
const MAX_LISTS = 16;

const SEQUENCE = 0x30;
const INTEGER = 0x02;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;

export interface RevocationList {
  /** The issuer's name as DER, in hex. */
  readonly issuerHex: string;
  readonly thisUpdateUnixSeconds: number;
  /** Absent in lists that never say; those are refused (RFC 5280 §5.1.2.5 demands one). */
  readonly nextUpdateUnixSeconds: number | undefined;
  /** Serial numbers in hex, without leading zeros. */
  readonly revoked: ReadonlySet<string>;
}

export type ListsReading =
  | { readonly ok: true; readonly lists: readonly RevocationList[] }
  | { readonly ok: false; readonly reason: string };

const BEGIN = '-----BEGIN X509 CRL-----';
const END = '-----END X509 CRL-----';

/** Never throws. Signatures are OpenSSL's to verify, at every handshake. */
export function readRevocationLists(pem: string): ListsReading {
  const parts = pem.split(BEGIN).slice(1);
  if (parts.length === 0) return { ok: false, reason: 'holds no list of revoked certificates' };
  if (parts.length > MAX_LISTS) return { ok: false, reason: `holds more than ${MAX_LISTS} lists` };
  try {
    return {
      ok: true,
      lists: parts.map((part) => readList(Buffer.from(part.slice(0, part.indexOf(END)), 'base64'))),
    };
  } catch (error) {
    if (error instanceof MalformedDer) return { ok: false, reason: error.message };
    throw error;
  }
}

/** Source: RFC 5280 §5.1. */
function readList(der: Buffer): RevocationList {
  const tbs = new DerReader(
    new DerReader(new DerReader(der).next(SEQUENCE).content).next(SEQUENCE).content,
  );
  if (tbs.peekTag() === INTEGER) tbs.next();
  tbs.next(SEQUENCE);
  const issuerHex = tbs.next(SEQUENCE).whole.toString('hex');
  const thisUpdateUnixSeconds = readTime(tbs.next());
  const isTime = tbs.peekTag() === UTC_TIME || tbs.peekTag() === GENERALIZED_TIME;
  const nextUpdateUnixSeconds = isTime ? readTime(tbs.next()) : undefined;
  const revoked = new Set<string>();
  if (tbs.peekTag() === SEQUENCE) {
    const entries = new DerReader(tbs.next(SEQUENCE).content);
    while (!entries.isAtEnd) {
      if (revoked.size >= MAX_REVOKED) throw new MalformedDer('too many revoked certificates');
      const serial = new DerReader(entries.next(SEQUENCE).content).next(INTEGER).content;
      revoked.add(withoutLeadingZeros(serial.toString('hex')));
    }
  }
  return { issuerHex, thisUpdateUnixSeconds, nextUpdateUnixSeconds, revoked };
}

/** Why no list of these can be relied on at a time; `undefined` when all can. */
export function staleness(
  lists: readonly RevocationList[],
  nowMs: number,
  maxAgeMs: number | undefined,
): string | undefined {
  for (const { thisUpdateUnixSeconds, nextUpdateUnixSeconds } of lists) {
    if (nextUpdateUnixSeconds === undefined) return 'a list says no next update';
    if (nextUpdateUnixSeconds * 1_000 < nowMs) return 'a list should have been renewed';
    if (maxAgeMs !== undefined && thisUpdateUnixSeconds * 1_000 + maxAgeMs < nowMs)
      return 'a list is older than it may be';
  }
  return undefined;
}
