// Whether labels are selected, by the rules of Kubernetes' label selectors.
import type { KubeObject } from '@weft/kube/kube-api';
import { objectAt, textAt, textsAt } from '@weft/kube/object-fields';
import { isPlainObject } from '@weft/model/policy/reader';

type Labels = Readonly<Record<string, unknown>>;

function holds(expression: KubeObject, labels: Labels): boolean {
  const key = textAt(expression, 'key') ?? '';
  const values = textsAt(expression, 'values');
  const found = labels[key];
  const isIn = typeof found === 'string' && values.includes(found);
  switch (textAt(expression, 'operator')) {
    case 'In':
      return isIn;
    case 'NotIn':
      return !isIn;
    case 'Exists':
      return found !== undefined;
    case 'DoesNotExist':
      return found === undefined;
    default:
      return false;
  }
}

/** An empty selector, and an absent one, selects everything. */
export function selects(selector: KubeObject | undefined, labels: Labels): boolean {
  const wanted = Object.entries(objectAt(selector, 'matchLabels') ?? {});
  const expressions = selector?.['matchExpressions'];
  return (
    wanted.every(([key, value]) => labels[key] === value) &&
    (!Array.isArray(expressions) ||
      expressions.filter(isPlainObject).every((one) => holds(one, labels)))
  );
}
