// Whether a Pod itself asks for a sidecar, or for none.
import { shown, type PlainObject, type Reader } from '@weft/model/policy/reader';
import { ANNOTATIONS } from './annotations.ts';
import { annotationsOf, labelsOf } from './pod-shape.ts';

const { name, cure, parse } = ANNOTATIONS.inject;

/** The Pod's own word: its annotation, else its label; absent: it says nothing. */
export function readOpt(reader: Reader, pod: PlainObject): boolean | undefined {
  for (const [part, owner] of [
    ['annotations', annotationsOf(pod)],
    ['labels', labelsOf(pod)],
  ] as const) {
    const text = owner[name];
    if (text === undefined) continue;
    const value = typeof text === 'string' ? parse(text) : undefined;
    if (value !== undefined) return value;
    const found = typeof text === 'string' ? shown(text) : JSON.stringify(text);
    reader.error(`metadata.${part}.${name}`, 'bad-annotation', `${found} is no value of it`, cure);
    return undefined;
  }
  return undefined;
}
