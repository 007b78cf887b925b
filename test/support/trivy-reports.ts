// VulnerabilityReports as Trivy Operator writes them, and the definition of their kind as far as it matters here.
import type { PlainObject } from '@weft/model/policy/reader';

/** Its own says more of each field, and keeps what it does not know in no other way. */
export const VULNERABILITY_REPORT_CRD: PlainObject = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'vulnerabilityreports.aquasecurity.github.io' },
  spec: {
    group: 'aquasecurity.github.io',
    scope: 'Namespaced',
    names: {
      kind: 'VulnerabilityReport',
      listKind: 'VulnerabilityReportList',
      plural: 'vulnerabilityreports',
      singular: 'vulnerabilityreport',
      shortNames: ['vuln', 'vulns'],
    },
    versions: [
      {
        name: 'v1alpha1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              report: {
                type: 'object',
                required: ['artifact', 'registry', 'updateTimestamp', 'vulnerabilities'],
                properties: {
                  updateTimestamp: { type: 'string', format: 'date-time' },
                  registry: { type: 'object', properties: { server: { type: 'string' } } },
                  artifact: {
                    type: 'object',
                    properties: {
                      repository: { type: 'string' },
                      tag: { type: 'string' },
                      digest: { type: 'string' },
                    },
                  },
                  vulnerabilities: {
                    type: 'array',
                    items: {
                      type: 'object',
                      required: ['vulnerabilityID', 'severity', 'fixedVersion'],
                      properties: {
                        vulnerabilityID: { type: 'string' },
                        severity: {
                          type: 'string',
                          enum: ['CRITICAL', 'HIGH', 'MEDIUM', 'LOW', 'UNKNOWN'],
                        },
                        fixedVersion: { type: 'string' },
                        installedVersion: { type: 'string' },
                        publishedDate: { type: 'string' },
                        resource: { type: 'string' },
                        title: { type: 'string' },
                      },
                    },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
};

export interface ReportFields {
  readonly name: string;
  readonly namespace: string;
  readonly artifact: PlainObject;
  readonly registry?: string;
  /** `ReplicaSet/web-1`, and the container. */
  readonly of?: readonly [string, string];
  readonly vulnerabilities: readonly PlainObject[];
}

export function vulnerabilityReport(fields: ReportFields): PlainObject {
  const { name, namespace, artifact, registry = 'index.docker.io', of, vulnerabilities } = fields;
  const [owner = '', container = ''] = of ?? [];
  const [kind = '', ownerName = ''] = owner.split('/');
  const labels = {
    'trivy-operator.resource.kind': kind,
    'trivy-operator.resource.name': ownerName,
    'trivy-operator.resource.namespace': namespace,
    'trivy-operator.container.name': container,
  };
  return {
    apiVersion: 'aquasecurity.github.io/v1alpha1',
    kind: 'VulnerabilityReport',
    metadata: { name, namespace, ...(of && { labels }) },
    report: {
      updateTimestamp: new Date().toISOString(),
      registry: { server: registry },
      artifact,
      vulnerabilities: vulnerabilities.map((one) => ({
        fixedVersion: '',
        resource: 'libc',
        ...one,
      })),
    },
  };
}
