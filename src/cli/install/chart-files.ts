// The files of the Helm chart that are made: values.yaml, values.schema.json, Chart.yaml, the reference of values, and the CRDs.
import { crdFiles } from '@weft/controlplane/schema/crd-files';
import { stringify } from 'yaml';
import { VERSION } from '../version.ts';
import { CHART_VALUES, isGroup, type ValueTree } from './chart-values.ts';

const MADE_OF = 'Made from src/cli/install/chart-values.ts by `npm run gen`: change it there.';
/** Native sidecars are on from here. */
export const KUBERNETES_MIN = '1.29';

const indented = (text: string, depth: number): string =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => '  '.repeat(depth) + line)
    .join('\n');

function yamlOf(tree: ValueTree, depth: number): string {
  return Object.entries(tree)
    .map(([key, node]) => {
      const comment = node.says === '' ? '' : `${indented(`# ${node.says}`, depth)}\n`;
      if (isGroup(node)) {
        return `${comment}${indented(`${key}:`, depth)}\n${yamlOf(node.values, depth + 1)}`;
      }
      const value = stringify({ [key]: node.default }, { defaultStringType: 'PLAIN' });
      return `${comment}${indented(value, depth)}\n`;
    })
    .join(depth === 0 ? '\n' : '');
}

type Schema = Readonly<Record<string, unknown>>;

function schemaOf(tree: ValueTree): Schema {
  const properties: Record<string, Schema> = {};
  for (const [key, node] of Object.entries(tree)) {
    const description = node.says === '' ? {} : { description: node.says };
    properties[key] = isGroup(node)
      ? { ...description, ...schemaOf(node.values) }
      : { ...description, ...node.schema, default: node.default };
  }
  return { type: 'object', additionalProperties: false, properties };
}

function rowsOf(tree: ValueTree, path: string): readonly string[] {
  return Object.entries(tree).flatMap(([key, node]) => {
    const name = path === '' ? key : `${path}.${key}`;
    if (isGroup(node))
      return [`| **\`${name}\`** | | ${node.says} |`, ...rowsOf(node.values, name)];
    const { enum: choices } = node.schema;
    const named = Array.isArray(choices)
      ? `One of ${choices.map((one) => `\`${one}\``).join(', ')}.`
      : '';
    const says = [node.says, named].filter((part) => part !== '').join(' ');
    return [
      `| \`${name}\` | \`${JSON.stringify(node.default)}\` | ${says.replaceAll('|', '\\|')} |`,
    ];
  });
}

const reference = (): string => `# Values of the chart

<!-- ${MADE_OF} -->

\`weft install\` takes the same values: \`--set replicas=3\`, \`--values FILE\`. A name that is not here is refused.
\`values-ha.yaml\` beside this file is what a cluster that matters wants.

| Value | Default | Meaning |
|---|---|---|
${rowsOf(CHART_VALUES, '').join('\n')}
`;

const chartYaml = (): string =>
  `# ${MADE_OF.replace('chart-values', 'chart-files')}\n${stringify({
    apiVersion: 'v2',
    name: 'weft',
    description: 'A light service mesh that can prove what it enforces',
    type: 'application',
    version: VERSION,
    appVersion: VERSION,
    kubeVersion: `>=${KUBERNETES_MIN}.0-0`,
  })}`;

/** Text by path below deploy/helm/weft. */
export function chartFiles(): ReadonlyMap<string, string> {
  const schema = { $schema: 'http://json-schema.org/draft-07/schema#', ...schemaOf(CHART_VALUES) };
  return new Map([
    ['Chart.yaml', chartYaml()],
    ['values.yaml', `# ${MADE_OF}\n\n${yamlOf(CHART_VALUES, 0)}`],
    ['values.schema.json', `${JSON.stringify(schema, undefined, 2)}\n`],
    ['README.md', reference()],
    ...[...crdFiles()].map(([name, text]) => [`files/crds/${name}`, text] as const),
  ]);
}
