// Weft's own kinds as CustomResourceDefinitions: the one source of deploy/crds.
import {
  apiVersionOf,
  AUTHORIZATION_POLICIES,
  BASIC_AUTHENTICATIONS,
  CLUSTER_WORKLOAD_POLICIES,
  CREDENTIAL_BINDINGS,
  CUSTOM_RESOURCE_DEFINITIONS,
  EXTERNAL_SERVICES,
  FEDERATED_TRUST_DOMAINS,
  type KubeResource,
  MESH_CONFIGS,
  PEER_AUTHENTICATIONS,
  REQUEST_AUTHENTICATIONS,
  resourceName,
  TLS_TERMINATIONS,
  TRAFFIC_POLICIES,
  TRUST_BUNDLES,
  WORKLOAD_POLICIES,
} from '@weft/kube/resource';
import { basicAuthenticationSpec } from './basic-authentication-schema.ts';
import { credentialBindingSpec } from './credential-schemas.ts';
import { externalServiceSpec } from './external-service-schema.ts';
import { federatedTrustDomainSpec } from './federation-schema.ts';
import { meshConfigSpec, trustBundleSpec, trustBundleStatus } from './mesh-schemas.ts';
import { authorizationPolicySpec, peerAuthenticationSpec } from './policy-schemas.ts';
import { requestAuthenticationSpec } from './request-authentication-schema.ts';
import type { Schema } from './schema.ts';
import { policyStatus, statusOf } from './status-schema.ts';
import { tlsTerminationSpec } from './tls-termination-schema.ts';
import { trafficPolicySpec } from './traffic-schema.ts';
import { admissionStatus, workloadPolicySpec } from './workload-policy-schema.ts';

interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  /** Above 0: with `-o wide` alone. */
  readonly priority?: number;
}

interface CustomKind {
  readonly resource: KubeResource;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly description: string;
  readonly spec: Schema;
  readonly status: Schema;
  readonly columns: readonly Column[];
}

const conditionOf = (type: string, field: 'status' | 'message'): string =>
  `.status.conditions[?(@.type=="${type}")].${field}`;

const age: Column = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Since when it is there.',
};
const accepted: Column = {
  name: 'Accepted',
  type: 'string',
  jsonPath: conditionOf('Accepted', 'status'),
  description: 'It can be read and is in force as written.',
};
const ENFORCEMENT: readonly Column[] = [
  {
    name: 'Selected',
    type: 'integer',
    jsonPath: '.status.selected',
    description: 'How many workloads it is for.',
  },
  {
    name: 'Enforced',
    type: 'string',
    jsonPath: '.status.enforced',
    description: 'How many of them enforce it as it is now.',
  },
  accepted,
  age,
  {
    name: 'Message',
    type: 'string',
    jsonPath: conditionOf('Enforced', 'message'),
    description: 'What it waits for.',
    priority: 1,
  },
];
const ADMISSION: readonly Column[] = [
  {
    name: 'Mode',
    type: 'string',
    jsonPath: '.spec.mode',
    description: 'Whether it writes down, warns or refuses.',
  },
  accepted,
  {
    name: 'Enforced',
    type: 'string',
    jsonPath: conditionOf('Enforced', 'status'),
    description: 'The API server enforces it by itself.',
  },
  age,
  {
    name: 'Message',
    type: 'string',
    jsonPath: conditionOf('Enforced', 'message'),
    description: 'What it waits for.',
    priority: 1,
  },
];
const SECURITY = ['weft', 'weft-security'];

export const CUSTOM_KINDS: readonly CustomKind[] = [
  {
    resource: AUTHORIZATION_POLICIES,
    singular: 'authorizationpolicy',
    // Not `ap`, which Istio's has: with both installed it must be clear whose is meant.
    shortNames: ['wap'],
    categories: SECURITY,
    description: 'Who may call which workloads, and what of them.',
    spec: authorizationPolicySpec,
    status: statusOf(policyStatus),
    columns: [
      {
        name: 'Action',
        type: 'string',
        jsonPath: '.spec.action',
        description: 'What is done with what matches.',
      },
      ...ENFORCEMENT,
    ],
  },
  {
    resource: PEER_AUTHENTICATIONS,
    singular: 'peerauthentication',
    shortNames: ['wpa'],
    categories: SECURITY,
    description: 'Whether callers of workloads must show a certificate of the mesh.',
    spec: peerAuthenticationSpec,
    status: statusOf(policyStatus),
    columns: [
      {
        name: 'Mode',
        type: 'string',
        jsonPath: '.spec.mtls.mode',
        description: 'For all ports that say nothing else.',
      },
      ...ENFORCEMENT,
    ],
  },
  {
    resource: REQUEST_AUTHENTICATIONS,
    singular: 'requestauthentication',
    shortNames: ['wra'],
    categories: SECURITY,
    description: 'Which tokens workloads take from their callers.',
    spec: requestAuthenticationSpec,
    status: statusOf(policyStatus),
    columns: ENFORCEMENT,
  },
  {
    resource: BASIC_AUTHENTICATIONS,
    singular: 'basicauthentication',
    shortNames: ['wba'],
    categories: SECURITY,
    description: 'Which users workloads let in by name and password.',
    spec: basicAuthenticationSpec,
    status: statusOf(policyStatus),
    columns: [
      {
        name: 'Users',
        type: 'string',
        jsonPath: '.spec.users.secretName',
        description: 'The Secret with their names and hashes.',
      },
      ...ENFORCEMENT,
    ],
  },
  {
    resource: TLS_TERMINATIONS,
    singular: 'tlstermination',
    shortNames: ['wtls'],
    categories: SECURITY,
    description: 'How ports take TLS of clients outside the mesh.',
    spec: tlsTerminationSpec,
    status: statusOf(policyStatus),
    columns: ENFORCEMENT,
  },
  {
    resource: TRAFFIC_POLICIES,
    singular: 'trafficpolicy',
    shortNames: ['wtp'],
    categories: SECURITY,
    description: 'What of the traffic of workloads is held back, limited or disturbed.',
    spec: trafficPolicySpec,
    status: statusOf(policyStatus),
    columns: ENFORCEMENT,
  },
  {
    resource: EXTERNAL_SERVICES,
    singular: 'externalservice',
    shortNames: ['wes'],
    categories: SECURITY,
    description: 'A host outside the mesh: how it is reached, and who may call it.',
    spec: externalServiceSpec,
    status: statusOf(policyStatus),
    columns: [
      {
        name: 'Hosts',
        type: 'string',
        jsonPath: '.spec.hosts',
        description: 'What callers name.',
      },
      ...ENFORCEMENT,
    ],
  },
  {
    resource: CREDENTIAL_BINDINGS,
    singular: 'credentialbinding',
    shortNames: ['wcb'],
    categories: SECURITY,
    description: 'Which workloads have which credentials, from where and how.',
    spec: credentialBindingSpec,
    status: statusOf(policyStatus),
    columns: ENFORCEMENT,
  },
  {
    resource: WORKLOAD_POLICIES,
    singular: 'workloadpolicy',
    shortNames: ['wwp'],
    categories: SECURITY,
    description: 'What Pods of a namespace, and whatever makes them, may be.',
    spec: workloadPolicySpec('namespaced'),
    status: statusOf(admissionStatus),
    columns: ADMISSION,
  },
  {
    resource: CLUSTER_WORKLOAD_POLICIES,
    singular: 'clusterworkloadpolicy',
    shortNames: ['wcwp'],
    categories: SECURITY,
    description: 'What Pods of many namespaces, and whatever makes them, may be.',
    spec: workloadPolicySpec('cluster'),
    status: statusOf(admissionStatus),
    columns: ADMISSION,
  },
  {
    resource: FEDERATED_TRUST_DOMAINS,
    singular: 'federatedtrustdomain',
    shortNames: ['wftd'],
    categories: SECURITY,
    description: 'Another trust domain, whose workloads are believed to be who its own keys say.',
    spec: federatedTrustDomainSpec,
    status: statusOf({}),
    columns: [
      {
        name: 'Trust domain',
        type: 'string',
        jsonPath: '.spec.trustDomain',
        description: 'Whose identities are believed.',
      },
      accepted,
      {
        name: 'Fetched',
        type: 'string',
        jsonPath: conditionOf('BundleFetched', 'status'),
        description: 'Its keys were fetched, and are not too old to be believed.',
      },
      age,
      {
        name: 'Message',
        type: 'string',
        jsonPath: conditionOf('BundleFetched', 'message'),
        description: 'When they were fetched, and until when they are believed.',
        priority: 1,
      },
    ],
  },
  {
    resource: MESH_CONFIGS,
    singular: 'meshconfig',
    shortNames: ['wmc'],
    categories: ['weft'],
    description: 'Settings of the whole mesh.',
    spec: meshConfigSpec,
    status: statusOf({}),
    columns: [accepted, age],
  },
  {
    resource: TRUST_BUNDLES,
    singular: 'trustbundle',
    shortNames: ['wtb'],
    categories: ['weft'],
    description: 'Which roots the mesh trusts, and how far a rotation of them has come.',
    spec: trustBundleSpec,
    status: statusOf(trustBundleStatus),
    columns: [
      {
        name: 'Phase',
        type: 'string',
        jsonPath: '.status.phase',
        description: 'How far a rotation has come.',
      },
      {
        name: 'Bundle',
        type: 'string',
        jsonPath: '.status.bundleVersion',
        description: 'Which roots are trusted.',
      },
      age,
    ],
  },
];

/** For `kubectl apply`, and for our own client. */
export function customResourceDefinition(kind: CustomKind): Readonly<Record<string, unknown>> {
  const { resource, singular, shortNames, categories, description, spec, status } = kind;
  const { group, version, plural, kind: name } = resource;
  return {
    apiVersion: apiVersionOf(CUSTOM_RESOURCE_DEFINITIONS),
    kind: CUSTOM_RESOURCE_DEFINITIONS.kind,
    metadata: {
      name: resourceName(resource),
      labels: { 'app.kubernetes.io/name': 'weft', 'app.kubernetes.io/component': 'crds' },
    },
    spec: {
      group,
      scope: resource.isNamespaced ? 'Namespaced' : 'Cluster',
      names: { kind: name, listKind: `${name}List`, plural, singular, shortNames, categories },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: kind.columns,
          schema: {
            openAPIV3Schema: {
              description,
              type: 'object',
              properties: { spec, status },
              // A misspelt `spec` must not be dropped: an empty one has a meaning of its own.
              'x-kubernetes-preserve-unknown-fields': true,
            },
          },
        },
      ],
    },
  };
}
