import { apiVersionOf, type KubeResource } from '@weft/kube/resource';
import { createScriptedApi } from '@weft/kube/testing/scripted-api';
import {
  type Manifest,
  type SourcePlace,
  testSource,
} from '../../../../test/support/source-suite.ts';
import { FOLLOWED_KINDS } from './followed-kinds.ts';
import { openKubernetesSource } from './kubernetes-source.ts';

const RESOURCES: readonly KubeResource[] = FOLLOWED_KINDS.flatMap(({ resources }) => resources);

function resourceOf({ apiVersion, kind }: Manifest): KubeResource {
  const found = RESOURCES.find((each) => each.kind === kind && apiVersionOf(each) === apiVersion);
  if (found === undefined)
    throw new Error(`Cannot place ${apiVersion} ${kind}: it is not followed`);
  return found;
}

async function openApi(): Promise<SourcePlace> {
  const api = createScriptedApi();
  return {
    namespace: 'shop',
    apply: async (manifest) => void api.put(resourceOf(manifest), manifest),
    remove: async (manifest) => api.remove(resourceOf(manifest), manifest.metadata),
    open: () => openKubernetesSource({ client: api.client, rootNamespace: 'weft-system' }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

testSource({ name: 'a cluster in memory as a source', openPlace: openApi });
