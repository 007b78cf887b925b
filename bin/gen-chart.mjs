// Writes the Helm chart's generated files, and deploy/manifests, which is the chart rendered with its defaults.
// Rendering needs Helm: the one that the tests build, or one on the PATH; without it the manifests stay as they are.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { chartFiles } from '../src/cli/install/chart-files.ts';
import {
  CHART,
  DEFAULT_NAMESPACE,
  PLAIN_MANIFESTS,
  renderManifests,
} from '../src/cli/install/render.ts';
import { helmBinary } from '../test/support/go-tools.ts';

const files = chartFiles();
const crds = join(CHART, 'files', 'crds');
mkdirSync(crds, { recursive: true });
for (const name of readdirSync(crds)) {
  if (!files.has(`files/crds/${name}`)) rmSync(join(crds, name));
}
for (const [path, text] of files) writeFileSync(join(CHART, path), text);

const helm = helmBinary();
if ('missing' in helm) {
  process.stderr.write(`deploy/manifests stays as it is: ${helm.missing}\n`);
} else {
  const asked = { helm: helm.path, namespace: DEFAULT_NAMESPACE, values: [], set: [] };
  const { text } = await renderManifests(asked);
  mkdirSync(dirname(PLAIN_MANIFESTS), { recursive: true });
  writeFileSync(
    PLAIN_MANIFESTS,
    `# Made from deploy/helm/weft with its defaults by \`npm run gen\`: change it there.\n${text}`,
  );
}
