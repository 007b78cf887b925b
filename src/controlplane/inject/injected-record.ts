// What injection writes down in a Pod about itself, so that it can be undone exactly and told from an older one.
import { createHash } from 'node:crypto';
import { parseJsonObject } from '@weft/model/parse-json-object';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { INJECTED_ANNOTATION } from './annotations.ts';
import { annotationsOf } from './pod-shape.ts';
import type { OriginalProbes } from './probes.ts';
import type { InjectionSettings } from './settings.ts';

export interface InjectedRecord {
  /** Of the Weft that injected. */
  readonly version: string;
  /** Of the settings that injected: Pods of the same template have the same. */
  readonly template: string;
  readonly containers: readonly string[];
  readonly volumes: readonly string[];
  /** Handlers that probes had before. */
  readonly probes?: OriginalProbes;
}

const HASH_LENGTH = 12;

/** @param sidecarImage that the Pod was given: the image of other sidecars is none of its business. */
export function templateOf(settings: InjectionSettings, sidecarImage: unknown): string {
  const { envoyImage, ...others } = settings;
  const used = sidecarImage === envoyImage ? settings : others;
  const ordered = JSON.stringify(Object.entries(used).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(ordered).digest('hex').slice(0, HASH_LENGTH);
}

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((entry) => typeof entry === 'string');

/** @returns `undefined` where there is no record, `'unreadable'` for one that Weft did not write. */
export function readRecord(pod: PlainObject): InjectedRecord | 'unreadable' | undefined {
  const text = annotationsOf(pod)[INJECTED_ANNOTATION];
  if (text === undefined) return undefined;
  const value = typeof text === 'string' ? parseJsonObject(text) : undefined;
  if (value === undefined) return 'unreadable';
  const { version, template, containers, volumes, probes } = value;
  if (typeof version !== 'string' || typeof template !== 'string') return 'unreadable';
  if (!isTexts(containers) || !isTexts(volumes)) return 'unreadable';
  const read = { version, template, containers, volumes };
  if (probes === undefined) return read;
  if (!isPlainObject(probes)) return 'unreadable';
  const originals = Object.entries(probes).flatMap(([name, kept]) =>
    isPlainObject(kept) ? [[name, kept] as const] : [],
  );
  return { ...read, probes: Object.fromEntries(originals) };
}
