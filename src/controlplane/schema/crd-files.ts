// The files of deploy/crds, as `npm run gen` writes them and a test compares them.
import { stringify } from 'yaml';
import { CUSTOM_KINDS, customResourceDefinition } from './custom-resources.ts';

const HEAD = '# Made from src/controlplane/schema by `npm run gen`: change it there.\n';

/** Text by file name. */
export function crdFiles(): ReadonlyMap<string, string> {
  return new Map(
    CUSTOM_KINDS.map((kind) => [
      `${kind.resource.plural}.yaml`,
      HEAD +
        stringify(customResourceDefinition(kind), {
          aliasDuplicateObjects: false,
          lineWidth: 0,
          // Kubernetes reads YAML 1.1, to which a bare `on` is true.
          version: '1.1',
        }),
    ]),
  );
}
