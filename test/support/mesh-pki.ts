// A root, an issuing CA and leaves of every kind that a peer may show, good and bad, for tests.
import {
  type DerPart,
  derTrue,
  namedBits,
  octetString,
  oid,
  sequence,
  tagged,
  time,
  unsignedInteger,
} from '@weft/ca/der';
import { createGeneration, openGeneration } from '@weft/ca/generation';
import type { Generation } from '@weft/ca/store/store';
import { createKeyPair, createSerial, type KeyPair, signTemplate, toPem } from '@weft/ca/sign';
import { ECDSA_WITH_SHA256, keyIdOf, publicKeyInfo } from '@weft/ca/template';
import { createMeshContexts, type MeshContexts } from '@weft/dataplane/tls/credentials';
import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '@weft/model/identity';

const MINUTE_MS = 60_000;
const SERVER_AUTH = oid('1.3.6.1.5.5.7.3.1');
const CLIENT_AUTH = oid('1.3.6.1.5.5.7.3.2');

export interface LeafSpec {
  readonly uris: readonly string[];
  /** Default both. */
  readonly purposes?: readonly ('server' | 'client')[];
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
}

export interface Credential {
  readonly keyPem: string;
  readonly chainPem: string;
}

export interface TestPki {
  readonly bundlePem: string;
  issue(leaf: LeafSpec): Credential;
  /** `shop/web` is `spiffe://DOMAIN/ns/shop/sa/web`. */
  contexts(account: string, more?: { readonly bundlePem?: string }): MeshContexts;
}

export function idOf(account: string, trustDomain = 'mesh.test'): SpiffeId {
  const [namespace, name] = account.split('/');
  const id = parseSpiffeId(`spiffe://${trustDomain}/ns/${namespace}/sa/${name}`);
  if (id === undefined) throw new RangeError(`Cannot make an id of ${account}`);
  return id;
}

export function createTestPki(trustDomain = 'mesh.test'): TestPki {
  const domain = parseTrustDomain(trustDomain);
  if (domain === undefined) throw new RangeError(`Cannot make a PKI: ${trustDomain} is no domain`);
  const made = createGeneration({
    id: 1,
    trustDomain: domain,
    nowMs: Date.now(),
    longestLeafMs: 0,
  });
  return pkiOf(made, trustDomain);
}

/** Leaves of an authority that runs, also ones that it would not give. */
export function pkiOf(made: Generation, trustDomain: string): TestPki {
  const generation = openGeneration(made);
  const bundlePem = toPem(made.rootCertificate);
  const issuingPem = toPem(generation.issuing.raw);
  const issue = (leaf: LeafSpec): Credential => {
    const key = createKeyPair();
    const tbs = leafBody(leaf, key, generation.issuer);
    const der = signTemplate(tbs, generation.issuingKey);
    return { keyPem: pemOf(key), chainPem: toPem(der) + issuingPem };
  };
  return {
    bundlePem,
    issue,
    contexts(account, more) {
      const spiffeId = idOf(account, trustDomain);
      return createMeshContexts({ spiffeId, bundlePem, ...issue({ uris: [spiffeId] }), ...more });
    },
  };
}

/** A certificate that nobody but its own key vouches for. */
export function selfSigned(leaf: LeafSpec): Credential {
  const key = createKeyPair();
  const issuer = { name: sequence(), authorityKeyId: Buffer.alloc(0) };
  return {
    keyPem: pemOf(key),
    chainPem: toPem(signTemplate(leafBody(leaf, key, issuer), key)),
  };
}

const pemOf = (key: KeyPair): string => key.privateKey.export({ format: 'pem', type: 'pkcs8' });

const extension = (id: string, isCritical: boolean, value: DerPart): Buffer =>
  sequence(oid(id), isCritical ? derTrue : Buffer.alloc(0), octetString(value));

function leafBody(
  leaf: LeafSpec,
  key: KeyPair,
  issuer: { readonly name: Buffer; readonly authorityKeyId: Buffer },
): Buffer {
  const { uris, purposes = ['server', 'client'] } = leaf;
  const { notBeforeMs = Date.now() - MINUTE_MS, notAfterMs = Date.now() + 60 * MINUTE_MS } = leaf;
  const usages = purposes.map((purpose) => (purpose === 'server' ? SERVER_AUTH : CLIENT_AUTH));
  const names = uris.map((uri) => tagged(0x86, Buffer.from(uri, 'latin1')));
  return sequence(
    tagged(0xa0, unsignedInteger(Buffer.of(2))),
    unsignedInteger(createSerial()),
    ECDSA_WITH_SHA256,
    issuer.name,
    sequence(time(notBeforeMs), time(notAfterMs)),
    sequence(),
    publicKeyInfo(key.point),
    tagged(
      0xa3,
      sequence(
        extension('2.5.29.19', true, sequence()),
        extension('2.5.29.15', true, namedBits(0)),
        ...(usages.length > 0 ? [extension('2.5.29.37', false, sequence(...usages))] : []),
        extension('2.5.29.14', false, octetString(keyIdOf(key.point))),
        issuer.authorityKeyId,
        ...(names.length > 0 ? [extension('2.5.29.17', true, sequence(...names))] : []),
      ),
    ),
  );
}
