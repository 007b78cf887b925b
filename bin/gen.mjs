// Writes what is generated and kept in the checkout: the CustomResourceDefinitions in deploy/crds, and the chart.
// Needs the checkout's own Node, for it reads `src/`; `npm run gen` does that.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crdFiles } from '../src/controlplane/schema/crd-files.ts';

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'deploy', 'crds');
const files = crdFiles();
mkdirSync(folder, { recursive: true });
for (const name of readdirSync(folder)) if (!files.has(name)) rmSync(join(folder, name));
for (const [name, content] of files) writeFileSync(join(folder, name), content);

await import('./gen-chart.mjs');
