// Signs images for tests as cosign does: under a tag by key or certificate, and as a bundle that refers to the image.
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { pushBlob, pushManifest, type TestRegistry } from './oci-registry.ts';

export interface TestSigner {
  readonly privateKey: KeyObject;
  readonly publicPem: string;
}

export function createSigner(): TestSigner {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, publicPem: publicKey.export({ type: 'spki', format: 'pem' }) };
}

export interface SignOptions {
  readonly repository: string;
  /** Of the image; what is signed may name another. */
  readonly digest: string;
  readonly says?: string;
  readonly certificatePem?: string;
  /** Enters the signature into a log of the test's own. */
  readonly log?: TestSigner;
  readonly loggedAtMs?: number;
  /** Default: the signature of what is signed. */
  readonly signature?: Buffer;
}

const payloadOf = (digest: string): string =>
  JSON.stringify({
    critical: {
      identity: { 'docker-reference': '' },
      image: { 'docker-manifest-digest': digest },
      type: 'cosign container image signature',
    },
    optional: null,
  });

/** `sha256-….sig`. */
export async function signUnderTag(
  registry: TestRegistry,
  { privateKey, publicPem }: TestSigner,
  options: SignOptions,
): Promise<void> {
  const { repository, digest, says = digest, certificatePem, log } = options;
  const payload = payloadOf(says);
  const signature = options.signature ?? sign('sha256', Buffer.from(payload), privateKey);
  const config = '{}';
  const entry =
    log &&
    logEntry(log, { payload, signature, publicPem: certificatePem ?? publicPem, ...options });
  await pushManifest(
    registry,
    repository,
    {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: await pushBlob(registry, repository, config),
        size: config.length,
      },
      layers: [
        {
          mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
          digest: await pushBlob(registry, repository, payload),
          size: payload.length,
          annotations: {
            'dev.cosignproject.cosign/signature': signature.toString('base64'),
            ...(certificatePem && { 'dev.sigstore.cosign/certificate': certificatePem }),
            ...(entry && { 'dev.sigstore.cosign/bundle': JSON.stringify(entry) }),
          },
        },
      ],
    },
    `${digest.replace(':', '-')}.sig`,
  );
}

/** Keys in the order of the alphabet, as RFC 8785 has it for what is signed here. */
const canonical = (value: Readonly<Record<string, string | number>>): string =>
  JSON.stringify(Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))));

/** As Rekor answers: a hashedrekord, and its promise to include it. */
function logEntry(
  log: TestSigner,
  what: {
    readonly payload: string;
    readonly signature: Buffer;
    readonly publicPem: string;
    readonly loggedAtMs?: number;
  },
): object {
  const { payload, signature, publicPem, loggedAtMs = Date.now() } = what;
  const body = Buffer.from(
    JSON.stringify({
      apiVersion: '0.0.1',
      kind: 'hashedrekord',
      spec: {
        data: {
          hash: {
            algorithm: 'sha256',
            value: createHash('sha256').update(payload).digest('hex'),
          },
        },
        signature: {
          content: signature.toString('base64'),
          publicKey: { content: Buffer.from(publicPem).toString('base64') },
        },
      },
    }),
  ).toString('base64');
  const der = Buffer.from(
    log.publicPem
      .split('\n')
      .filter((line) => !line.startsWith('-'))
      .join(''),
    'base64',
  );
  const entry = {
    body,
    integratedTime: Math.floor(loggedAtMs / 1_000),
    logIndex: 1,
    logID: createHash('sha256').update(der).digest('hex'),
  };
  const promise = sign('sha256', Buffer.from(canonical(entry)), log.privateKey);
  return { SignedEntryTimestamp: promise.toString('base64'), Payload: entry };
}

const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

export interface AttestOptions extends Pick<SignOptions, 'repository' | 'digest' | 'says'> {
  readonly predicateType: string;
  readonly predicate: object;
}

const statementOf = ({ digest, says = digest, predicateType, predicate }: AttestOptions): string =>
  JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ digest: { sha256: says.slice('sha256:'.length) } }],
    predicateType,
    predicate,
  });

/** DSSE's encoding of what is signed. */
const encoded = (statement: string): Buffer =>
  Buffer.from(
    `DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${Buffer.byteLength(statement)} ${statement}`,
  );

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/** `sha256-….att`, as `cosign attest` keeps it. */
export async function attestUnderTag(
  registry: TestRegistry,
  { privateKey }: TestSigner,
  options: AttestOptions,
): Promise<void> {
  const { repository, digest, predicateType } = options;
  const statement = statementOf(options);
  const sig = sign('sha256', encoded(statement), privateKey).toString('base64');
  const envelope = JSON.stringify({
    payloadType: PAYLOAD_TYPE,
    payload: Buffer.from(statement).toString('base64'),
    signatures: [{ keyid: '', sig }],
  });
  const config = '{}';
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: await pushBlob(registry, repository, config),
      size: config.length,
    },
    layers: [
      {
        mediaType: 'application/vnd.dsse.envelope.v1+json',
        digest: await pushBlob(registry, repository, envelope),
        size: Buffer.byteLength(envelope),
        annotations: { predicateType },
      },
    ],
  };
  await pushManifest(registry, repository, manifest, `${digest.replace(':', '-')}.att`);
}

/** A bundle of version 0.3 under the index `sha256-…`, as where a registry knows no referrers. */
export async function signAsBundle(
  registry: TestRegistry,
  { privateKey }: TestSigner,
  options: Pick<SignOptions, 'repository' | 'digest' | 'says'> & Partial<AttestOptions>,
): Promise<void> {
  const { repository, digest } = options;
  const statement = statementOf({
    predicateType: 'https://sigstore.dev/cosign/sign/v1',
    predicate: {},
    ...options,
  });
  const bundle = JSON.stringify({
    mediaType: BUNDLE_TYPE,
    verificationMaterial: { publicKey: { hint: '' }, tlogEntries: [] },
    dsseEnvelope: {
      payload: Buffer.from(statement).toString('base64'),
      payloadType: PAYLOAD_TYPE,
      signatures: [
        { sig: sign('sha256', encoded(statement), privateKey).toString('base64'), keyid: '' },
      ],
    },
  });
  const config = '{}';
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    artifactType: BUNDLE_TYPE,
    config: {
      mediaType: 'application/vnd.oci.empty.v1+json',
      digest: await pushBlob(registry, repository, config),
      size: config.length,
    },
    layers: [
      {
        mediaType: BUNDLE_TYPE,
        digest: await pushBlob(registry, repository, bundle),
        size: Buffer.byteLength(bundle),
      },
    ],
  };
  const of = await pushManifest(registry, repository, manifest);
  await pushManifest(
    registry,
    repository,
    {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          mediaType: manifest.mediaType,
          artifactType: BUNDLE_TYPE,
          digest: of,
          size: JSON.stringify(manifest).length,
        },
      ],
    },
    digest.replace(':', '-'),
  );
}
