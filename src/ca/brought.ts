// Decides whether a CA that somebody brings can issue for the mesh, and what its coming changes.
import { errorText } from '@weft/model/error-text';
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readCaConstraints } from './ca-constraints.ts';
import { rollbackRotation, startRotation } from './rotation.ts';
import { exportKey, signerOf } from './sign.ts';
import type { CaState, Generation, IssuingMaterial } from './store/store.ts';
import { BACKDATE_MS } from './template.ts';

export interface BroughtPem {
  /** The issuing CA first, then what is between it and the root. */
  readonly chain: string;
  /** Of the issuing CA. */
  readonly key: string;
  /** The root. */
  readonly root: string;
}

export type BroughtReading =
  | { readonly ok: true; readonly material: IssuingMaterial }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Where a CA comes from that is not our own. */
export interface BroughtCa {
  /** `Secret weft-system/mesh-ca`, for messages. */
  readonly name: string;
  /** @throws with the cure when there is none, or it cannot be used. */
  load(): Promise<IssuingMaterial>;
  /** Tells of what is there, and of every change that can be used. */
  subscribe(listener: (material: IssuingMaterial) => void): Disposable;
}

/** What sidecars take: a leaf and four CAs. */
const MAX_CHAIN = 4;
const MAX_ROOTS = 8;
const MAX_PEM_BYTES = 65_536;
/** 1 h: with less, certificates would end before anybody could do something about it. */
const MIN_LIFE_MS = 3_600_000;
const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';

/** Everything that is wrong is said at once, each with its cure. */
export function readBroughtCa(pem: BroughtPem, nowMs: number): BroughtReading {
  const problems: string[] = [];
  const chain = readCertificates(pem.chain, 'tls.crt', MAX_CHAIN, problems);
  const roots = readCertificates(pem.root, 'ca.crt', MAX_ROOTS, problems);
  const key = readKey(pem.key, problems);
  const [issuing] = chain;
  if (issuing === undefined || roots.length === 0 || key === undefined) {
    return { ok: false, problems };
  }
  if (!issuing.checkPrivateKey(key)) {
    problems.push('tls.key is not the key of the first certificate in tls.crt');
  }
  if (signerOf(key) === undefined) {
    problems.push(
      'tls.key is neither RSA of 2048 bits or more nor on P-256, P-384 or P-521: make an issuing CA with such a key',
    );
  }
  const path = pathToRoot(chain, roots, problems);
  if (path !== undefined) checkPath(path, nowMs, problems);
  if (path === undefined || problems.length > 0) return { ok: false, problems };
  const [first = issuing, ...above] = path;
  return {
    ok: true,
    material: {
      rootCertificate: (above.at(-1) ?? first).raw,
      issuingKey: exportKey(key),
      issuingCertificate: first.raw,
      intermediates: above.slice(0, -1).map(({ raw }) => raw),
    },
  };
}

function readCertificates(
  pem: string,
  key: string,
  limit: number,
  problems: string[],
): readonly X509Certificate[] {
  if (pem.length > MAX_PEM_BYTES) {
    problems.push(`${key} has more than ${MAX_PEM_BYTES} bytes`);
    return [];
  }
  const blocks = pem.split(BEGIN).slice(1);
  if (blocks.length === 0 || blocks.length > limit) {
    problems.push(`${key} has ${blocks.length} certificates in PEM, and 1 to ${limit} are needed`);
    return [];
  }
  try {
    return blocks.map((block) => {
      const [body = ''] = block.split(END);
      return new X509Certificate(`${BEGIN}${body}${END}\n`);
    });
  } catch (error) {
    problems.push(`${key} cannot be read: ${errorText(error)}`);
    return [];
  }
}

function readKey(pem: string, problems: string[]): KeyObject | undefined {
  if (pem.length === 0 || pem.length > MAX_PEM_BYTES) {
    problems.push('tls.key is empty or too long: the key of the issuing CA in PEM is needed');
    return undefined;
  }
  try {
    return createPrivateKey(pem);
  } catch {
    /** The library's words may quote what it read; a key is nobody's to see. */
    problems.push('tls.key is no private key in PEM, or has a passphrase: give it without one');
    return undefined;
  }
}

/** From the issuing CA to the root: each signed by the next, none left over. */
function pathToRoot(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  problems: string[],
): readonly X509Certificate[] | undefined {
  const last = chain.at(-1);
  if (last === undefined) return undefined;
  for (const [index, certificate] of chain.slice(0, -1).entries()) {
    const issuer = chain[index + 1];
    if (issuer === undefined || isIssuedBy(certificate, issuer)) continue;
    problems.push(
      `certificate ${index + 2} of tls.crt did not issue the one before it: order them from the issuing CA upwards`,
    );
    return undefined;
  }
  const root = roots.find((each) => each.verify(each.publicKey) && isIssuedBy(last, each));
  if (root === undefined) {
    problems.push(
      'ca.crt has no self-signed root that tls.crt leads to: put the root into ca.crt, and what is between into tls.crt',
    );
    return undefined;
  }
  return last.raw.equals(root.raw) ? chain : [...chain, root];
}

const isIssuedBy = (certificate: X509Certificate, issuer: X509Certificate): boolean =>
  certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);

function checkPath(path: readonly X509Certificate[], nowMs: number, problems: string[]): void {
  for (const [caBelow, certificate] of path.entries()) {
    const named = `CA ${certificate.subject.replaceAll('\n', ', ')}`;
    const allowed = readCaConstraints(certificate.raw);
    if (allowed === undefined) {
      problems.push(`${named} cannot be read`);
      continue;
    }
    if (!allowed.isCa || !allowed.maySign) {
      problems.push(`${named} may not issue certificates: make it with CA:TRUE and keyCertSign`);
    }
    if (allowed.pathLength !== undefined && allowed.pathLength < caBelow) {
      problems.push(
        `${named} allows ${allowed.pathLength} CAs below it, and there are ${caBelow}: make it with a larger path length`,
      );
    }
    if (!allowed.isForTls) {
      problems.push(`${named} is not for clients and servers: make it without extended key usage`);
    }
    if (allowed.hasNameConstraints) {
      problems.push(
        `${named} has name constraints, which may not let SPIFFE ids pass: make one without`,
      );
    }
    checkTimes(certificate, { named, nowMs, problems });
    const { signatureAlgorithm = '' } = certificate;
    const isWeak = /sha1|md5/i.test(signatureAlgorithm);
    if (isWeak && caBelow < path.length - 1) {
      problems.push(`${named} is signed with ${signatureAlgorithm}: sign it with SHA-256`);
    }
  }
}

function checkTimes(
  { validFromDate, validToDate }: X509Certificate,
  to: { readonly named: string; readonly nowMs: number; readonly problems: string[] },
): void {
  const { named, nowMs, problems } = to;
  if (validFromDate.getTime() > nowMs + BACKDATE_MS) {
    problems.push(
      `${named} is valid from ${validFromDate.toISOString()} only: look at the clock of this machine`,
    );
  }
  if (validToDate.getTime() < nowMs + MIN_LIFE_MS) {
    problems.push(`${named} ends at ${validToDate.toISOString()}: renew it`);
  }
}

/** Of a mesh that never had a CA before. */
export const broughtState = (trustDomain: string, material: IssuingMaterial): CaState => ({
  trustDomain,
  generations: [{ id: 1, ...material, longestLeafMs: 0 }],
  rotation: { phase: 'stable', active: 1 },
});

/**
 * The state that comes nearer to what was brought: a new issuing CA under the same root at once, another root by a rotation.
 * @returns `undefined` when there is nothing to do, or nothing yet: after the rotation that is under way, ask again.
 */
export function towardsBrought(
  state: CaState,
  material: IssuingMaterial,
  longestLeafMs: number,
): CaState | undefined {
  const { rotation, generations } = state;
  const same = generations.find((generation) => isOfRoot(generation, material));
  if (rotation.phase === 'stable' && same === undefined) {
    const id = Math.max(...generations.map((generation) => generation.id)) + 1;
    const started = startRotation(rotation, id);
    if (!started.ok) return undefined;
    const made: Generation = { id, ...material, longestLeafMs };
    return { ...state, generations: [...generations, made], rotation: started.state };
  }
  if (same === undefined) return undefined;
  const renewed = isSameMaterial(same, material)
    ? state
    : {
        ...state,
        generations: generations.map((each) => (each === same ? renew(each, material) : each)),
      };
  const isAimedAt =
    rotation.phase === 'distribute' ? rotation.next === same.id : rotation.active === same.id;
  if (isAimedAt) return renewed === state ? undefined : renewed;
  // The former root was put back: so does the mesh.
  const back = rollbackRotation(rotation);
  return back.ok ? { ...renewed, rotation: back.state } : undefined;
}

const isOfRoot = (generation: Generation, { rootCertificate }: IssuingMaterial): boolean =>
  generation.rootCertificate.equals(rootCertificate);

const isSameMaterial = (generation: Generation, material: IssuingMaterial): boolean =>
  generation.rootKey === undefined &&
  generation.issuingCertificate.equals(material.issuingCertificate) &&
  generation.issuingKey.equals(material.issuingKey) &&
  Buffer.concat(generation.intermediates).equals(Buffer.concat(material.intermediates));

const renew = ({ id, longestLeafMs }: Generation, material: IssuingMaterial): Generation => ({
  id,
  ...material,
  longestLeafMs,
});
