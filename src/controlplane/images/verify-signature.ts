// Decides whether a stored signature is one that a rule asks for: of this very image, by one of its keys or identities.
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
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
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
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
  const reasons: string[] = [];
  for (const key of rule.keys) {
    const wrong = whyNotByKey(entity, createPublicKey(key));
    if (wrong === undefined) return undefined;
    reasons.push(wrong);
  }
  if (rule.certificates !== undefined && entity.key.$case === 'certificate') {
    const wrong = whyNotByIdentity(entity, rule.certificates, image.nowMs);
    if (wrong === undefined) return undefined;
    reasons.push(wrong);
  }
  return reasons.at(-1) ?? 'is by a key, and identities are asked for';
}

/** What was signed names the image; a good signature of something else is none of this. */
function isOfImage(stored: StoredSignature, digest: string): boolean {
  if (stored.kind === 'simple') {
    const critical = objectIn(parsed(stored.payload), 'critical');
    const named = objectIn(critical, 'image')?.['docker-manifest-digest'];
    return named === digest && critical?.['type'] === 'cosign container image signature';
  }
  const { content } = stored.bundle;
  if (content.$case !== 'dsseEnvelope') return false;
  const { payload, payloadType } = content.dsseEnvelope;
  const statement = parsed(payload);
  if (payloadType !== STATEMENT_TYPE || statement?.['predicateType'] !== SIGN_PREDICATE) {
    return false;
  }
  const subjects = statement['subject'];
  const hex = digest.slice('sha256:'.length);
  return (
    Array.isArray(subjects) &&
    subjects.some((one) => isPlainObject(one) && objectIn(one, 'digest')?.['sha256'] === hex)
  );
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
  const entry = logEntry && readLogEntry(logEntry);
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

type LogEntry = SignedEntity['tlogEntries'][number];

/** As cosign keeps what the log answered: the promise to enter it, and what was promised. */
function readLogEntry(kept: PlainObject): LogEntry | undefined {
  const payload = objectIn(kept, 'Payload');
  const promise = kept['SignedEntryTimestamp'];
  const { body, integratedTime, logIndex, logID } = payload ?? {};
  if (typeof body !== 'string' || typeof promise !== 'string' || typeof logID !== 'string') {
    return undefined;
  }
  const canonicalizedBody = Buffer.from(body, 'base64');
  const { kind, apiVersion } = parsed(canonicalizedBody) ?? {};
  return {
    logIndex: String(logIndex),
    logId: { keyId: Buffer.from(logID, 'hex') },
    kindVersion: { kind: String(kind), version: String(apiVersion) },
    integratedTime: String(integratedTime),
    inclusionPromise: { signedEntryTimestamp: Buffer.from(promise, 'base64') },
    inclusionProof: undefined,
    canonicalizedBody,
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

function parsed(bytes: Buffer): PlainObject | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isPlainObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const objectIn = (object: PlainObject | undefined, key: string): PlainObject | undefined => {
  const value = object?.[key];
  return isPlainObject(value) ? value : undefined;
};
