// Reads the reports of vulnerabilities that a cluster has, and finds the one about an image that a Pod runs.
import { readTrivyReport } from '@weft/controlplane/vulnerabilities/read-trivy-report';
import { imageInUse } from '@weft/controlplane/vulnerabilities/running-pods';
import {
  ReportIndex,
  VULNERABILITY_REPORTS,
} from '@weft/controlplane/vulnerabilities/trivy-reports';
import type { KubeClient, KubeFailure } from '@weft/kube/kube-api';
import type { UsedImage } from '@weft/model/admission/check-images';
import type { VulnerabilityReport } from '@weft/model/admission/vulnerability-types';
import type { Asked } from './judge-workloads.ts';

/** A report may be a megabyte. */
const PAGE = 20;

export interface KnownReports {
  reportOf(asked: Asked, image: UsedImage): VulnerabilityReport | undefined;
  /** Why there are none. */
  readonly problem?: string;
}

/**
 * Of the whole cluster, as the control plane sees them; of the one namespace where no more may be read.
 * @throws Error that names verb, resource and cure.
 */
export async function readReports(
  client: Pick<KubeClient, 'list'>,
  namespace: string | undefined,
): Promise<KnownReports> {
  const all = await readFrom(client, undefined);
  if (all.ok) return all.reports;
  const own = all.code === 403 && namespace !== undefined && (await readFrom(client, namespace));
  if (own && own.ok) return own.reports;
  throw new Error(all.message);
}

type Read = { readonly ok: true; readonly reports: KnownReports } | KubeFailure;

async function readFrom(
  client: Pick<KubeClient, 'list'>,
  namespace: string | undefined,
): Promise<Read> {
  const index = new ReportIndex();
  let continueToken: string | undefined;
  do {
    const listed = await client.list(VULNERABILITY_REPORTS, {
      limit: PAGE,
      ...(namespace !== undefined && { namespace }),
      ...(continueToken !== undefined && { continueToken }),
    });
    if (!listed.ok && listed.code === 404) {
      const problem = 'vulnerabilities are not looked at: the cluster has no VulnerabilityReports';
      return { ok: true, reports: { reportOf: () => undefined, problem } };
    }
    if (!listed.ok) return listed;
    for (const object of listed.value.items) index.set(readTrivyReport(object, index.share));
    ({ continueToken } = listed.value);
  } while (continueToken !== undefined);
  const reportOf: KnownReports['reportOf'] = ({ pod }, image) =>
    pod === undefined ? undefined : index.find(imageInUse(pod, image));
  return { ok: true, reports: { reportOf } };
}
