// Finds the signatures of an image in its registry: those that cosign keeps under a tag, and bundles that refer to it.
import type { Bundle } from '@sigstore/bundle';
import { isSha256 } from '@weft/model/admission/image-reference';
import { parseJsonObject } from '@weft/model/parse-json-object';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { readLogEntry } from './log-entry.ts';
import type { Place, Read, Registry } from './registry.ts';

/** Something that was signed, and by what it says to have been. */
export type StoredSignature =
  | {
      readonly kind: 'simple';
      /** What was signed; it names the image's digest. */
      readonly payload: Buffer;
      readonly signature: Buffer;
      /** DER; absent: by a key. */
      readonly certificate: Buffer | undefined;
      /** As the log answered when it was entered; absent: it was not. */
      readonly logEntry: PlainObject | undefined;
    }
  | { readonly kind: 'bundle'; readonly bundle: Bundle };

/** More than any release process makes; what is beyond is not looked at. */
const MAX_SIGNATURES = 32;
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
const BUNDLE_TYPES = [
  'application/vnd.dev.sigstore.bundle.v0.3+json',
  'application/vnd.dev.sigstore.bundle+json;version=0.3',
];
const ENVELOPE = 'application/vnd.dsse.envelope.v1+json';
const SIGNATURE = 'dev.cosignproject.cosign/signature';
const CERTIFICATE = 'dev.sigstore.cosign/certificate';
const LOG_ENTRY = 'dev.sigstore.cosign/bundle';

const NONE: Read<readonly StoredSignature[]> = { ok: true, value: [] };

/** @returns none where the registry says that there are none; why, where it cannot be asked. */
export async function findSignatures(
  registry: Registry,
  place: Place,
  digest: string,
  signal: AbortSignal,
): Promise<Read<readonly StoredSignature[]>> {
  const found: StoredSignature[] = [];
  for (const find of [findTagged, findReferring]) {
    const some = await find(registry, place, digest, signal);
    if (!some.ok) return some;
    found.push(...some.value);
  }
  return { ok: true, value: found.slice(0, MAX_SIGNATURES) };
}

/** Everything that was attested of an image: signed statements of any kind, `.att` of cosign among them. */
export async function findStatements(
  registry: Registry,
  place: Place,
  digest: string,
  signal: AbortSignal,
): Promise<Read<readonly Bundle[]>> {
  const found: Bundle[] = [];
  for (const find of [findAttached, findReferring]) {
    const some = await find(registry, place, digest, signal);
    if (!some.ok) return some;
    found.push(...some.value.flatMap((one) => (one.kind === 'bundle' ? [one.bundle] : [])));
  }
  return { ok: true, value: found.slice(0, MAX_SIGNATURES) };
}

/** `sha256-….att`: a manifest with a layer for each envelope. */
async function findAttached(
  registry: Registry,
  place: Place,
  digest: string,
  signal: AbortSignal,
): Promise<Read<readonly StoredSignature[]>> {
  const manifest = await registry.manifest(place, `${tagOf(digest)}.att`, signal);
  if (!manifest.ok) return manifest.kind === 'absent' ? NONE : manifest;
  const found: StoredSignature[] = [];
  for (const layer of layersOf(manifest.value.bytes)) {
    if (layer.mediaType !== ENVELOPE) continue;
    const envelope = await registry.blob(place, layer.digest, signal);
    if (!envelope.ok) return envelope;
    const bundle = await bundleOf(envelope.value, layer.annotations);
    if (bundle !== undefined) found.push({ kind: 'bundle', bundle });
  }
  return { ok: true, value: found };
}

/** @returns `undefined` for what is no envelope with one signature. */
async function bundleOf(bytes: Buffer, annotations: PlainObject): Promise<Bundle | undefined> {
  const { payload, payloadType, signatures } = parseJsonObject(bytes.toString('utf8')) ?? {};
  const [only, ...more]: readonly unknown[] = Array.isArray(signatures) ? signatures : [];
  const signature = isPlainObject(only) ? textIn(only, 'sig') : undefined;
  const isWhole = typeof payload === 'string' && typeof payloadType === 'string';
  if (!isWhole || signature === undefined || more.length > 0) return undefined;
  const { toDSSEBundle } = await import('@sigstore/bundle');
  const pem = textIn(annotations, CERTIFICATE);
  const bundle = toDSSEBundle({
    artifact: Buffer.from(payload, 'base64'),
    artifactType: payloadType,
    signature: Buffer.from(signature, 'base64'),
    ...(pem !== undefined && { certificate: firstDer(pem) }),
  });
  const entry = readLogEntry(parseJsonObject(textIn(annotations, LOG_ENTRY) ?? ''));
  if (entry !== undefined) bundle.verificationMaterial.tlogEntries.push(entry);
  return bundle;
}

const tagOf = (digest: string): string => digest.replace(':', '-');

/** `sha256-….sig`: a manifest with a layer for each signature. */
async function findTagged(
  registry: Registry,
  place: Place,
  digest: string,
  signal: AbortSignal,
): Promise<Read<readonly StoredSignature[]>> {
  const manifest = await registry.manifest(place, `${tagOf(digest)}.sig`, signal);
  if (!manifest.ok) return manifest.kind === 'absent' ? NONE : manifest;
  const found: StoredSignature[] = [];
  for (const layer of layersOf(manifest.value.bytes)) {
    const signature = textIn(layer.annotations, SIGNATURE);
    if (layer.mediaType !== SIMPLE_SIGNING || signature === undefined) continue;
    const payload = await registry.blob(place, layer.digest, signal);
    if (!payload.ok) return payload;
    const pem = textIn(layer.annotations, CERTIFICATE);
    found.push({
      kind: 'simple',
      payload: payload.value,
      signature: Buffer.from(signature, 'base64'),
      certificate: pem === undefined ? undefined : firstDer(pem),
      logEntry: parseJsonObject(textIn(layer.annotations, LOG_ENTRY) ?? ''),
    });
  }
  return { ok: true, value: found };
}

/** By the referrers API, or where a registry has none by the index under the tag `sha256-…`. */
async function findReferring(
  registry: Registry,
  place: Place,
  digest: string,
  signal: AbortSignal,
): Promise<Read<readonly StoredSignature[]>> {
  const listed = await registry.referrers(place, digest, signal);
  let index = listed.ok ? listed.value : undefined;
  if (!listed.ok && listed.kind === 'unavailable') return listed;
  if (index === undefined) {
    const tagged = await registry.manifest(place, tagOf(digest), signal);
    if (!tagged.ok) return tagged.kind === 'absent' ? NONE : tagged;
    index = tagged.value.bytes;
  }
  const manifests = listIn(parseJsonObject(index.toString('utf8')), 'manifests');
  const found: StoredSignature[] = [];
  for (const entry of manifests.slice(0, MAX_SIGNATURES)) {
    const of = entry['digest'];
    const isBundle = BUNDLE_TYPES.includes(String(entry['artifactType']));
    if (!isBundle || typeof of !== 'string' || !isSha256(of)) continue;
    const bundle = await readBundle(registry, place, of, signal);
    if (!bundle.ok) return bundle;
    if (bundle.value !== undefined) found.push({ kind: 'bundle', bundle: bundle.value });
  }
  return { ok: true, value: found };
}

async function readBundle(
  registry: Registry,
  place: Place,
  digest: string,
  signal: AbortSignal,
): Promise<Read<Bundle | undefined>> {
  const manifest = await registry.manifest(place, digest, signal);
  if (!manifest.ok) return manifest;
  const [layer] = layersOf(manifest.value.bytes);
  if (layer === undefined) return { ok: true, value: undefined };
  const blob = await registry.blob(place, layer.digest, signal);
  if (!blob.ok) return blob;
  const { bundleFromJSON } = await import('@sigstore/bundle');
  try {
    return { ok: true, value: bundleFromJSON(JSON.parse(blob.value.toString('utf8'))) };
  } catch {
    // What is no bundle signs nothing.
    return { ok: true, value: undefined };
  }
}

interface Layer {
  readonly mediaType: string;
  readonly digest: string;
  readonly annotations: PlainObject;
}

const layersOf = (manifest: Buffer): readonly Layer[] =>
  listIn(parseJsonObject(manifest.toString('utf8')), 'layers')
    .slice(0, MAX_SIGNATURES)
    .flatMap(({ mediaType, digest, annotations }) =>
      typeof digest === 'string' && isSha256(digest)
        ? [
            {
              mediaType: String(mediaType),
              digest,
              annotations: isPlainObject(annotations) ? annotations : {},
            },
          ]
        : [],
    );

const listIn = (object: PlainObject | undefined, key: string): readonly PlainObject[] => {
  const list = object?.[key];
  return Array.isArray(list) ? list.filter(isPlainObject) : [];
};

const textIn = (object: PlainObject, key: string): string | undefined => {
  const value = object[key];
  return typeof value === 'string' ? value : undefined;
};

/** Of the first certificate in PEM. @returns empty where it is none, which nothing verifies. */
function firstDer(pem: string): Buffer {
  const begin = '-----BEGIN CERTIFICATE-----';
  const from = pem.indexOf(begin);
  const to = pem.indexOf('-----END CERTIFICATE-----', from);
  return from === -1 || to === -1
    ? Buffer.alloc(0)
    : Buffer.from(pem.slice(from + begin.length, to), 'base64');
}
