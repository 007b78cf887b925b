// Who wants a sidecar: what a Pod says of itself holds before what its namespace says, and neither holds in Kubernetes' own namespaces.
import { shown, type PlainObject, type Reader } from '@weft/model/policy/reader';
import { ANNOTATIONS, INJECTION_LABEL } from './annotations.ts';
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
    reader.error(`metadata.${part}[${name}]`, 'bad-annotation', `${found} is no value of it`, cure);
    return undefined;
  }
  return undefined;
}

export type NamespaceOpt = 'in' | 'out' | { readonly unknown: string };

/** A label that is not understood opts nobody in, and is said. */
export function readNamespaceOpt(labels: Readonly<Record<string, string>>): NamespaceOpt {
  const value = labels[INJECTION_LABEL];
  if (value === 'enabled') return 'in';
  if (value === undefined || value === 'disabled') return 'out';
  return {
    unknown: `the namespace's label ${INJECTION_LABEL} is ${shown(value)}; write enabled or disabled`,
  };
}
