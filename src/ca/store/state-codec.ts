// Writes the CA's state as text and reads it back: every field checked, and a checksum over all of them.
import { createHash } from 'node:crypto';
import { parseJsonObject } from '@weft/model/parse-json-object';
import { isPlainObject } from '@weft/model/policy/reader';
import type { RotationState } from '../rotation.ts';
import type { CaState, Generation, Publication, TokenKey } from './store.ts';

const FORMAT = 'weft-ca';
const VERSION = 1;

export type StateReading =
  | { readonly ok: true; readonly state: CaState }
  | { readonly ok: false; readonly reason: string };

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

export function encodeState(state: CaState): string {
  const content = JSON.stringify({
    trustDomain: state.trustDomain,
    generations: state.generations.map((generation) => ({
      id: generation.id,
      ...(generation.rootKey && { rootKey: generation.rootKey.toString('base64') }),
      rootCertificate: generation.rootCertificate.toString('base64'),
      issuingKey: generation.issuingKey.toString('base64'),
      issuingCertificate: generation.issuingCertificate.toString('base64'),
      ...(generation.intermediates.length > 0 && {
        intermediates: generation.intermediates.map((der) => der.toString('base64')),
      }),
      longestLeafMs: generation.longestLeafMs,
    })),
    rotation: state.rotation,
    ...(state.tokenKeys && {
      tokenKeys: state.tokenKeys.map(({ key, createdAtMs }) => ({
        key: key.toString('base64'),
        createdAtMs,
      })),
    }),
    ...(state.publication && { publication: state.publication }),
  });
  return `${JSON.stringify({ format: FORMAT, version: VERSION, sha256: digestOf(content), content })}\n`;
}

const refused = (reason: string): StateReading => ({ ok: false, reason });

export function decodeState(text: string): StateReading {
  const outer = parseJsonObject(text);
  if (outer === undefined) return refused('it is cut off or damaged');
  if (outer['format'] !== FORMAT) return refused('it is not a state of the CA');
  if (outer['version'] !== VERSION) {
    return refused(`its version is ${String(outer['version'])}, and this program knows ${VERSION}`);
  }
  const content = outer['content'];
  if (typeof content !== 'string' || outer['sha256'] !== digestOf(content)) {
    return refused('its checksum does not fit its content');
  }
  const inner = parseJsonObject(content);
  const trustDomain = inner?.['trustDomain'];
  const generations = readGenerations(inner?.['generations']);
  const rotation = readRotation(inner?.['rotation']);
  const tokenKeys = readTokenKeys(inner?.['tokenKeys']);
  if (typeof trustDomain !== 'string' || generations === undefined || rotation === undefined) {
    return refused('its content is not what this program writes');
  }
  if (tokenKeys === undefined) return refused('its keys for tokens are damaged');
  const publication = readPublication(inner?.['publication']);
  if (publication === 'damaged') return refused('its publication is damaged');
  const state = { trustDomain, generations, rotation };
  return {
    ok: true,
    state: {
      ...state,
      ...(tokenKeys.length > 0 && { tokenKeys }),
      ...(publication && { publication }),
    },
  };
}

function readPublication(value: unknown): Publication | 'damaged' | undefined {
  if (value === undefined) return undefined;
  const { sequence, publishedAtMs, digest } = isPlainObject(value) ? value : {};
  if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence)) return 'damaged';
  if (typeof publishedAtMs !== 'number' || typeof digest !== 'string') return 'damaged';
  return { sequence, publishedAtMs, digest };
}

/** @returns none where there are none. */
function readTokenKeys(value: unknown): readonly TokenKey[] | undefined {
  if (value === undefined) return [];
  if (!Array.isArray(value)) return undefined;
  const read = value.map((item: unknown): TokenKey | undefined => {
    const key = isPlainObject(item) ? readBytes(item['key']) : undefined;
    const createdAtMs = isPlainObject(item) ? item['createdAtMs'] : undefined;
    return key === undefined || typeof createdAtMs !== 'number' ? undefined : { key, createdAtMs };
  });
  const whole = read.filter((key) => key !== undefined);
  return whole.length === read.length ? whole : undefined;
}

function readGenerations(value: unknown): readonly Generation[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const read = value.map(readGeneration).filter((generation) => generation !== undefined);
  return read.length === value.length && read.length > 0 ? read : undefined;
}

function readGeneration(value: unknown): Generation | undefined {
  if (!isPlainObject(value)) return undefined;
  const { id, longestLeafMs } = value;
  if (typeof id !== 'number' || typeof longestLeafMs !== 'number') return undefined;
  const rootKey = readBytes(value['rootKey']);
  // A key that is there and no text is damage; one that is not there is a CA that was brought.
  if (value['rootKey'] !== undefined && rootKey === undefined) return undefined;
  const rootCertificate = readBytes(value['rootCertificate']);
  const issuingKey = readBytes(value['issuingKey']);
  const issuingCertificate = readBytes(value['issuingCertificate']);
  const intermediates = readList(value['intermediates']);
  if (rootCertificate === undefined || intermediates === undefined) return undefined;
  if (issuingKey === undefined || issuingCertificate === undefined) return undefined;
  const material = { rootCertificate, issuingKey, issuingCertificate, intermediates };
  return { id, ...(rootKey && { rootKey }), ...material, longestLeafMs };
}

function readList(value: unknown): readonly Buffer[] | undefined {
  if (value === undefined) return [];
  if (!Array.isArray(value)) return undefined;
  const read = value.map(readBytes).filter((bytes) => bytes !== undefined);
  return read.length === value.length ? read : undefined;
}

const readBytes = (value: unknown): Buffer | undefined =>
  typeof value === 'string' ? Buffer.from(value, 'base64') : undefined;

function readRotation(value: unknown): RotationState | undefined {
  if (!isPlainObject(value)) return undefined;
  const { phase, active, next, previous } = value;
  if (typeof active !== 'number') return undefined;
  switch (phase) {
    case 'stable':
      return { phase, active };
    case 'distribute':
      return typeof next === 'number' ? { phase, active, next } : undefined;
    case 'sign':
    case 'retire':
      return typeof previous === 'number' ? { phase, active, previous } : undefined;
    default:
      return undefined;
  }
}
