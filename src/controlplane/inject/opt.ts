// Whether a Pod itself asks for a sidecar, or for none.
import { shown, type PlainObject, type Reader } from '@weft/model/policy/reader';
import { ANNOTATIONS } from './annotations.ts';
import { annotationsOf, labelsOf } from './pod-shape.ts';

const { name, cure, parse } = ANNOTATIONS.inject;

/**
 * The Pod's own word, by annotation or label; absent: it says nothing. Where the two disagree `false` holds: a webhook is
 * not even called for a Pod whose label says so.
 */
export function readOpt(reader: Reader, pod: PlainObject): boolean | undefined {
  const words = [
    readWord(reader, annotationsOf(pod), 'metadata.annotations'),
    readWord(reader, labelsOf(pod), 'metadata.labels'),
  ];
  return words.includes(false) ? false : words.find((word) => word !== undefined);
}

function readWord(reader: Reader, owner: PlainObject, field: string): boolean | undefined {
  const text = owner[name];
  if (text === undefined) return undefined;
  const value = typeof text === 'string' ? parse(text) : undefined;
  if (value !== undefined) return value;
  const found = typeof text === 'string' ? shown(text) : JSON.stringify(text);
  reader.error(`${field}.${name}`, 'bad-annotation', `${found} is no value of ${name}`, cure);
  return undefined;
}
