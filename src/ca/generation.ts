// Makes and opens generations: a root, the issuing CA under it, and what signing with them needs.
import { createHash, X509Certificate } from 'node:crypto';
import type { TrustDomain } from '@weft/model/identity';
import { DerReader, readCertificate } from '@weft/model/x509';
import {
  createKeyPair,
  createSerial,
  exportKey,
  type KeyPair,
  readKeyPair,
  readSigner,
  type Signer,
  signTemplate,
} from './sign.ts';
import type { CaState, Generation } from './store/store.ts';
import {
  BACKDATE_MS,
  caName,
  issuerTemplate,
  type IssuerTemplate,
  issuingCaTemplate,
  keyIdOf,
  rootTemplate,
} from './template.ts';

const DAY_MS = 86_400_000;
/** 10 years: roots change by rotation, which is to be a person's decision. */
export const ROOT_LIFE_MS = 3_652 * DAY_MS;
/** 1 year: made anew long before by the CA itself, see `ISSUING_RENEWAL_MS`. */
export const ISSUING_LIFE_MS = 365 * DAY_MS;
/** Half a year before its end: half of its life remains for a store that cannot be written. */
export const ISSUING_RENEWAL_MS = ISSUING_LIFE_MS / 2;

/** 160 bits, as our own key identifiers. */
const KEY_ID_DIGITS = 40;

/** A generation that is ready to sign. */
export interface OpenGeneration {
  readonly id: number;
  readonly root: X509Certificate;
  /** Subject key id, in hex. */
  readonly rootKeyId: string;
  readonly issuing: X509Certificate;
  /** What goes with every leaf: from the issuing CA up to, and without, the root. */
  readonly chainDer: readonly Buffer[];
  /** When the first of the CAs above a leaf ends. */
  readonly issuingNotAfterMs: number;
  /** Whether we can make the next issuing CA ourselves. */
  readonly isOwn: boolean;
  readonly issuingKey: Signer;
  readonly issuer: IssuerTemplate;
  /** In hex, as leaves name it in their authority key id. */
  readonly issuerKeyId: string;
}

interface MakingOptions {
  readonly trustDomain: TrustDomain;
  readonly nowMs: number;
}

export function createGeneration(
  options: MakingOptions & { readonly id: number; readonly longestLeafMs: number },
): Generation {
  const { id, trustDomain, nowMs, longestLeafMs } = options;
  const rootKey = createKeyPair();
  const name = rootName(trustDomain, id, rootKey.point);
  const validity = { notBeforeMs: nowMs - BACKDATE_MS, notAfterMs: nowMs + ROOT_LIFE_MS };
  const toBeSigned = rootTemplate({ serial: createSerial(), name, point: rootKey.point, validity });
  return {
    id,
    rootKey: exportKey(rootKey.privateKey),
    rootCertificate: signTemplate(toBeSigned, rootKey),
    ...createIssuing({ id, trustDomain, nowMs, rootKey, rootNotAfterMs: validity.notAfterMs }),
    longestLeafMs,
  };
}

/** Of a CA that never was before. */
export const createState = (trustDomain: TrustDomain, nowMs: number): CaState => ({
  trustDomain,
  generations: [createGeneration({ id: 1, trustDomain, nowMs, longestLeafMs: 0 })],
  rotation: { phase: 'stable', active: 1 },
});

/** @returns the same object when certificates have lived as long before. */
export function withLongestLeaf(state: CaState, svidTtlMs: number): CaState {
  if (state.generations.every(({ longestLeafMs }) => longestLeafMs >= svidTtlMs)) return state;
  const generations = state.generations.map((generation) => ({
    ...generation,
    longestLeafMs: Math.max(generation.longestLeafMs, svidTtlMs),
  }));
  return { ...state, generations };
}

/**
 * How long until the issuing CA is to be made anew; 0 or less when it is time. Never, once it lives as long as its root, or where the
 * key of its root is elsewhere.
 */
export function issuingRenewalInMs(generation: OpenGeneration, nowMs: number): number {
  const { issuingNotAfterMs, root, isOwn } = generation;
  if (!isOwn || issuingNotAfterMs >= root.validToDate.getTime()) return Number.POSITIVE_INFINITY;
  return issuingNotAfterMs - ISSUING_RENEWAL_MS - nowMs;
}

/** The same root with a new issuing CA; certificates of the former one stay valid, because they carry it along. */
export function renewIssuing(generation: Generation, options: MakingOptions): Generation {
  if (generation.rootKey === undefined) return generation;
  const rootKey = readKeyPair(generation.rootKey);
  const rootNotAfterMs = new X509Certificate(generation.rootCertificate).validToDate.getTime();
  const made = createIssuing({ ...options, id: generation.id, rootKey, rootNotAfterMs });
  return { ...generation, ...made };
}

function createIssuing(
  options: MakingOptions & {
    readonly id: number;
    readonly rootKey: KeyPair;
    readonly rootNotAfterMs: number;
  },
): Pick<Generation, 'issuingKey' | 'issuingCertificate' | 'intermediates'> {
  const { id, trustDomain, nowMs, rootKey, rootNotAfterMs } = options;
  const key = createKeyPair();
  const toBeSigned = issuingCaTemplate(
    {
      serial: createSerial(),
      name: caName(trustDomain, `Weft issuing CA ${id}-${shortId(key.point)}`),
      point: key.point,
      validity: {
        notBeforeMs: nowMs - BACKDATE_MS,
        notAfterMs: Math.min(nowMs + ISSUING_LIFE_MS, rootNotAfterMs),
      },
    },
    issuerTemplate(rootName(trustDomain, id, rootKey.point), keyIdOf(rootKey.point)),
  );
  return {
    issuingKey: exportKey(key.privateKey),
    issuingCertificate: signTemplate(toBeSigned, rootKey),
    intermediates: [],
  };
}

/** Two roots of one name would confuse chain building, so the key is part of it. */
const rootName = (trustDomain: TrustDomain, id: number, point: Buffer): Buffer =>
  caName(trustDomain, `Weft root ${id}-${shortId(point)}`);

const shortId = (point: Buffer): string =>
  createHash('sha256').update(point).digest('hex').slice(0, 12);

/** @throws when its parts do not belong together: signing with them would give certificates that nobody accepts. */
export function openGeneration(generation: Generation): OpenGeneration {
  const { id } = generation;
  const root = new X509Certificate(generation.rootCertificate);
  const issuing = new X509Certificate(generation.issuingCertificate);
  const rest = generation.intermediates.map((der) => new X509Certificate(der));
  const issuingKey = readSigner(generation.issuingKey);
  const path = [issuing, ...rest];
  // A root that issues itself is the whole of its path.
  if (!issuing.raw.equals(root.raw)) path.push(root);
  const isWhole =
    issuing.checkPrivateKey(issuingKey.privateKey) &&
    root.verify(root.publicKey) &&
    hasKeyOf(root, generation.rootKey) &&
    path.every((certificate, index) => isIssuedBy(certificate, path[index + 1] ?? root));
  if (!isWhole) {
    throw new Error(
      `Cannot use CA generation ${id}: its keys and certificates do not belong together`,
    );
  }
  const name = subjectOf(generation.issuingCertificate);
  const issuer = issuerTemplate(name, subjectKeyIdOf(issuing), issuingKey.algorithm);
  return {
    id,
    root,
    rootKeyId: subjectKeyIdOf(root).toString('hex'),
    issuing,
    chainDer: path
      .filter((each) => each !== root && !each.raw.equals(root.raw))
      .map(({ raw }) => raw),
    issuingNotAfterMs: Math.min(...path.map(({ validToDate }) => validToDate.getTime())),
    isOwn: generation.rootKey !== undefined,
    issuingKey,
    issuer,
    issuerKeyId: issuer.keyId.toString('hex'),
  };
}

const isIssuedBy = (certificate: X509Certificate, issuer: X509Certificate): boolean =>
  certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);

const hasKeyOf = (root: X509Certificate, rootKey: Buffer | undefined): boolean =>
  rootKey === undefined || root.checkPrivateKey(readKeyPair(rootKey).privateKey);

/** As leaves name it: what the certificate says of itself, or the hash of its key. */
function subjectKeyIdOf(certificate: X509Certificate): Buffer {
  const reading = readCertificate(certificate.raw);
  if (!reading.ok) throw new Error(`Cannot use a CA certificate: ${reading.reason}`);
  const { subjectKeyIdHex, spkiSha256 } = reading.facts;
  return Buffer.from(subjectKeyIdHex ?? spkiSha256.slice(0, KEY_ID_DIGITS), 'hex');
}

const SEQUENCE = 0x30;

/** The subject as it is encoded, which leaves must repeat byte for byte as their issuer (RFC 5280 §4.1.2.4). */
function subjectOf(certificate: Buffer): Buffer {
  const tbs = new DerReader(
    new DerReader(new DerReader(certificate).next(SEQUENCE).content).next(SEQUENCE).content,
  );
  // Version, serial number, algorithm, issuer, validity.
  for (let count = 0; count < 5; count++) tbs.next();
  return tbs.next(SEQUENCE).whole;
}
