// Which namespaces want refused callers told why: an annotation of the Namespace, one that cannot be read tells nobody.
import type { NamespaceObject } from '@weft/model/mesh/objects';
import { EXPLANATIONS, type DenialExplanation } from '@weft/model/policy/denials';
import { shown } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';
import { compareTexts } from './compare-texts.ts';

/** On a Namespace: `header` or `problem`. */
const EXPLAIN = 'weft.dev/explain-denials';

export function readExplanations(namespaces: ReadonlyMap<string, NamespaceObject>): {
  readonly explained: ReadonlyMap<string, DenialExplanation>;
  readonly problems: readonly Problem[];
} {
  const explained = new Map<string, DenialExplanation>();
  const problems: Problem[] = [];
  for (const [name, { meta }] of [...namespaces].sort(([a], [b]) => compareTexts(a, b))) {
    const text = meta.annotations.get(EXPLAIN);
    const known = EXPLANATIONS.find((each) => each === text);
    if (known !== undefined) explained.set(name, known);
    else if (text !== undefined) {
      problems.push({
        severity: 'error',
        code: 'unknown-value',
        field: `metadata.annotations.${EXPLAIN}`,
        message: `unknown value ${shown(text)}: refused callers are not told why`,
        cure: `write one of ${EXPLANATIONS.join(', ')}`,
        object: { kind: 'Namespace', name },
      });
    }
  }
  return { explained, problems };
}

/** Of one workload: its own namespace, and the root namespace, whose policies hold for it too. */
export function explainedAt(
  explained: ReadonlyMap<string, DenialExplanation>,
  namespaces: readonly string[],
): ReadonlyMap<string, DenialExplanation> {
  const own = new Map<string, DenialExplanation>();
  for (const name of [...new Set(namespaces)].sort()) {
    const explanation = explained.get(name);
    if (explanation !== undefined) own.set(name, explanation);
  }
  return own;
}
