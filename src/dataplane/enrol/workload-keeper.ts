// Makes the keeper of a workload's certificate of what the program beside the workload was told.
import { spiffeIdOf } from '@weft/model/identity';
import type { MeshSidecarOptions } from '../options.ts';
import { IdentityKeeper, type IdentityKeeperOptions } from './identity-keeper.ts';

type Own = Pick<IdentityKeeperOptions, 'onChange' | 'takesFederated' | 'whenBundleIsUsed'>;

export function createWorkloadKeeper(options: MeshSidecarOptions, own: Own): IdentityKeeper {
  const { trustDomain, rootNamespace, namespace, clock, random, log } = options;
  return new IdentityKeeper({
    enrolmentAddress: options.enrolmentAddress,
    renewalAddress: options.xdsAddress,
    bundlePem: options.bundlePem,
    controlPlane: spiffeIdOf({
      trustDomain,
      namespace: rootNamespace,
      serviceAccount: 'weft-control-plane',
    }),
    readBundle: options.readBundle,
    readEvidence: options.readEvidence,
    afterRefusal: options.afterRefusal,
    expected: { trustDomain, namespace, spiffeId: undefined },
    clock,
    random,
    log: log.child({ component: 'identity' }),
    ...own,
  });
}
