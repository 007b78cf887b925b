// All checks in the order in which an operator would look: what the rest depends on first.
import {
  checkBundles,
  checkCertificates,
  checkKinds,
  checkLeader,
  checkReplicas,
} from './control-plane.ts';
import type { Check, CheckContext, Finding } from './finding.ts';
import { checkClock, checkOtherMeshes, checkPermissions, checkVersion } from './prerequisites.ts';
import { checkRights } from './rights.ts';
import { checkWebhooks } from './webhooks.ts';
import { checkWorkloads } from './workloads.ts';

const BEFORE: readonly Check[] = [checkPermissions, checkClock, checkOtherMeshes];
const AFTER: readonly Check[] = [
  checkClock,
  checkOtherMeshes,
  checkKinds,
  checkRights,
  checkReplicas,
  checkLeader,
  checkCertificates,
  checkBundles,
  checkWebhooks,
  checkWorkloads,
];

export async function runChecks(
  when: 'before' | 'after',
  context: CheckContext,
): Promise<readonly Finding[]> {
  const findings = [...(await checkVersion(context))];
  // Nobody answers: what could be said of the rest?
  if (findings.some(({ state }) => state === 'failed')) return findings;
  for (const check of when === 'before' ? BEFORE : AFTER) findings.push(...(await check(context)));
  return findings;
}
