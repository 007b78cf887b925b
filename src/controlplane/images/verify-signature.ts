// Decides whether a stored signature is one that a rule asks for: of this very image, by one of its keys or identities.
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import type { Bundle } from '@sigstore/bundle';
import { X509Certificate, crypto as sigstoreCrypto } from '@sigstore/core';
import {
  type SignedEntity,
  type Signer,
  toSignedEntity,
  type TrustMaterial,
  Verifier,
} from '@sigstore/verify';
import type {
  CertificateRule,
  SignatureRule,
  SignerIdentity,
} from '@weft/model/admission/image-types';
import { parseJsonObject } from '@weft/model/parse-json-object';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { readLogEntry } from './log-entry.ts';
import type { StoredSignature } from './stored-signatures.ts';

/** What an attestation must be to count as the word of who released the image. */
const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';
const STATEMENT_TYPE = 'application/vnd.in-toto+json';
const EVER = { start: new Date(0), end: new Date(8_640_000_000_000_000) };

/** @param digest of the image, `sha256:…`. @returns why it is none; `undefined` when it is good. */
export function whyNotSigned(
  stored: StoredSignature,
  rule: SignatureRule,
  image: { readonly digest: string; readonly nowMs: number },
): string | undefined {
  if (!isOfImage(stored, image.digest)) return 'is of another image';
  const entity = entityOf(stored);
  if (entity === undefined) return 'cannot be read';
  return whyNotTrusted(entity, rule, image.nowMs);
}

/** Whether what a bundle says is by one of the signers. */
export function isBelieved(bundle: Bundle, rule: Signers, nowMs: number): boolean {
  const entity = entityOf({ kind: 'bundle', bundle });
  return entity !== undefined && whyNotTrusted(entity, rule, nowMs) === undefined;
}

/** Who must have signed, whatever it is. */
export type Signers = Pick<SignatureRule, 'keys' | 'certificates'>;

/** @returns why what was signed is by none of them; `undefined` when it is. */
export function whyNotTrusted(
  entity: SignedEntity,
  rule: Signers,
  nowMs: number,
): string | undefined {
  const reasons: string[] = [];
  for (const key of rule.keys) {
    const wrong = whyNotByKey(entity, createPublicKey(key));
    if (wrong === undefined) return undefined;
    reasons.push(wrong);
  }
  if (rule.certificates !== undefined && entity.key.$case === 'certificate') {
    const wrong = whyNotByIdentity(entity, rule.certificates, nowMs);
    if (wrong === undefined) return undefined;
    reasons.push(wrong);
  }
  return reasons.at(-1) ?? 'is by a key, and identities are asked for';
}

/** What was signed names the image; a good signature of something else is none of this. */
function isOfImage(stored: StoredSignature, digest: string): boolean {
  if (stored.kind === 'simple') {
    const critical = objectIn(parseJsonObject(stored.payload.toString('utf8')), 'critical');
    const named = objectIn(critical, 'image')?.['docker-manifest-digest'];
    return named === digest && critical?.['type'] === 'cosign container image signature';
  }
  return statementOf(stored.bundle, digest)?.predicateType === SIGN_PREDICATE;
}

/** What was stated of an image; `undefined` where it is of another, or no statement. Not yet whether it is believed. */
export function statementOf(
  { content }: Bundle,
  digest: string,
): { readonly predicateType: unknown; readonly predicate: unknown } | undefined {
  if (content.$case !== 'dsseEnvelope') return undefined;
  const { payload, payloadType } = content.dsseEnvelope;
  if (payloadType !== STATEMENT_TYPE) return undefined;
  const { subject, predicateType, predicate } = parseJsonObject(payload.toString('utf8')) ?? {};
  const hex = digest.slice('sha256:'.length);
  const isOf =
    Array.isArray(subject) &&
    subject.some((one) => isPlainObject(one) && objectIn(one, 'digest')?.['sha256'] === hex);
  return isOf ? { predicateType, predicate } : undefined;
}

function entityOf(stored: StoredSignature): SignedEntity | undefined {
  try {
    return stored.kind === 'bundle' ? toSignedEntity(stored.bundle) : simpleEntity(stored);
  } catch {
    return undefined;
  }
}

function simpleEntity({
  payload,
  signature,
  certificate,
  logEntry,
}: Extract<StoredSignature, { readonly kind: 'simple' }>): SignedEntity {
  const digest = createHash('sha256').update(payload).digest();
  const isDigest = (other: Buffer): boolean => sigstoreCrypto.bufferEqual(other, digest);
  const entry = readLogEntry(logEntry);
  return {
    signature: {
      signature,
      compareSignature: (other) => sigstoreCrypto.bufferEqual(other, signature),
      compareDigest: isDigest,
      compareSignedDigest: isDigest,
      verifySignature: (key) => sigstoreCrypto.verify(payload, key, signature, 'sha256'),
    },
    key:
      certificate === undefined
        ? { $case: 'public-key', hint: '' }
        : { $case: 'certificate', certificate: X509Certificate.parse(Buffer.from(certificate)) },
    timestamps: entry === undefined ? [] : [{ $case: 'transparency-log', tlogEntry: entry }],
    tlogEntries: entry === undefined ? [] : [entry],
  };
}

const trustOf = (more: Partial<TrustMaterial>): TrustMaterial => ({
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: () => {
    throw new Error('no key is trusted');
  },
  ...more,
});

/** A key is the whole word: neither a time nor a log has to vouch for it. */
function whyNotByKey(entity: SignedEntity, publicKey: KeyObject): string | undefined {
  const key = { publicKey, validFor: () => true };
  const verifier = new Verifier(trustOf({ publicKey: () => key }), {
    tlogThreshold: 0,
    ctlogThreshold: 0,
    timestampThreshold: 0,
  });
  const byKey = { ...entity, key: { $case: 'public-key', hint: '' } as const };
  const signer = attempt(() => verifier.verify({ ...byKey, timestamps: [], tlogEntries: [] }));
  return typeof signer === 'string' ? `is not by the key (${signer})` : undefined;
}

/**
 * Where logs are trusted, one of them must have entered the signature while the certificate was good; else the
 * certificate has to be good now.
 */
function whyNotByIdentity(
  entity: SignedEntity,
  rule: CertificateRule,
  nowMs: number,
): string | undefined {
  const logs = rule.transparencyLogs.map((pem) => createPublicKey(pem));
  const trust = trustOf({
    certificateAuthorities: [{ certChain: certificatesIn(rule.roots), validFor: EVER }],
    tlogs: logs.map((publicKey) => ({
      logID: createHash('sha256')
        .update(publicKey.export({ type: 'spki', format: 'der' }))
        .digest(),
      baseURL: '',
      publicKey,
      validFor: EVER,
    })),
  });
  const isLogged = logs.length > 0;
  const least = isLogged ? 1 : 0;
  const verifier = new Verifier(trust, {
    tlogThreshold: least,
    ctlogThreshold: 0,
    timestampThreshold: 1,
  });
  const logged = entity.timestamps.filter(({ $case }) => $case === 'transparency-log');
  const timed = isLogged
    ? { ...entity, timestamps: logged }
    : { ...entity, timestamps: [momentOf(nowMs)], tlogEntries: [] };
  const signer = attempt(() => verifier.verify(timed));
  if (typeof signer === 'string') return `is by nobody who is trusted (${signer})`;
  if (rule.identities.some((identity) => isIdentity(signer, identity))) return undefined;
  const { subjectAlternativeName = 'nobody', extensions } = signer.identity ?? {};
  return `is by ${subjectAlternativeName}${extensions?.issuer === undefined ? '' : ` of ${extensions.issuer}`}`;
}

/** The verifier takes times from entries of logs alone: this one says when we look, and is verified by nobody. */
const momentOf = (nowMs: number): SignedEntity['timestamps'][number] => ({
  $case: 'transparency-log',
  tlogEntry: {
    logIndex: '0',
    logId: { keyId: Buffer.alloc(0) },
    kindVersion: { kind: '', version: '' },
    integratedTime: String(Math.floor(nowMs / 1_000)),
    inclusionPromise: { signedEntryTimestamp: Buffer.alloc(0) },
    inclusionProof: undefined,
    canonicalizedBody: Buffer.alloc(0),
  },
});

function isIdentity({ identity }: Signer, { subject, issuer }: SignerIdentity): boolean {
  const name = identity?.subjectAlternativeName ?? '';
  const isSubject = subject.endsWith('*')
    ? name.startsWith(subject.slice(0, -1))
    : name === subject;
  return isSubject && (issuer === undefined || identity?.extensions?.issuer === issuer);
}

const END = '-----END CERTIFICATE-----';

const certificatesIn = (pem: string): X509Certificate[] =>
  pem
    .split(END)
    .filter((part) => part.includes('-----BEGIN CERTIFICATE-----'))
    .map((part) => X509Certificate.parse(`${part.trim()}\n${END}\n`));

/** What does not verify is a reason; the library throws for it. */
function attempt(verify: () => Signer): Signer | string {
  try {
    return verify();
  } catch (error) {
    return error instanceof Error ? error.message : 'unknown';
  }
}

const objectIn = (object: PlainObject | undefined, key: string): PlainObject | undefined => {
  const value = object?.[key];
  return isPlainObject(value) ? value : undefined;
};
