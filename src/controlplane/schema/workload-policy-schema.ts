// What the API server takes for a WorkloadPolicy and a ClusterWorkloadPolicy.
import { CHECK_NAMES } from '@weft/model/admission/parse-workload-policy';
import { ADMISSION_MODES, WORKLOAD_KINDS } from '@weft/model/admission/types';
import { imagesSection } from './image-schemas.ts';
import { vulnerabilitiesSection } from './vulnerabilities-schema.ts';
import { choice, list, open, type Schema, text, texts } from './schema.ts';

/** The parsers' bounds (parse-match.ts, parse-pod.ts). */
const MAX_NAMES = 256;
const MAX_LABELS = 64;
const MAX_EXEMPTIONS = 64;
const MAX_REASON = 1_024;
const MAX_VALUES = 256;
const MAX_PATH = 1_024;

const labels = (description: string): Schema => ({
  description,
  type: 'object',
  maxProperties: MAX_LABELS,
  additionalProperties: { type: 'string', maxLength: 63 },
});

/** `minItems`: an empty list would mean none, and is refused by the parser. */
const names = (description: string): Schema => texts(description, MAX_NAMES, { minLength: 1 });

const ofCluster = {
  namespaces: names(
    'Namespaces by name. Absent: all but those of Kubernetes itself and that of Weft.',
  ),
  notNamespaces: names('Namespaces that are left out.'),
  namespaceLabels: labels('Labels that a namespace must have.'),
} satisfies Readonly<Record<string, Schema>>;

type Scope = 'namespaced' | 'cluster';

const matchOf = (scope: Scope): Schema =>
  open('Which workloads it is for. Absent: all.', {
    kinds: list('Kinds that are looked at. Absent: all of them.', {
      type: 'string',
      enum: WORKLOAD_KINDS,
    }),
    labels: labels('Labels that a Pod must have, exactly and all of them.'),
    ...(scope === 'cluster' ? ofCluster : {}),
  });

const exemptionsOf = (scope: Scope): Schema =>
  list(
    'Whom it leaves out, why, and until when.',
    open(
      'One exemption.',
      {
        who: open(
          'All that is set must be so.',
          {
            labels: labels('Labels of the Pods.'),
            serviceAccounts: names('Service accounts of the Pods.'),
            users: names('Users who ask, as the API server knows them.'),
            groups: names('Groups of users who ask.'),
            ...(scope === 'cluster' ? { namespaces: ofCluster.namespaces } : {}),
          },
          { minProperties: 1 },
        ),
        checks: list('Checks that are left out. Absent: all.', {
          type: 'string',
          enum: CHECK_NAMES,
        }),
        reason: text('Why, and who decided it.', { minLength: 1, maxLength: MAX_REASON }),
        expires: text('When it ends: 2027-01-31, or a time with its zone.', { minLength: 10 }),
      },
      { required: ['who', 'reason', 'expires'] },
    ),
    { maxItems: MAX_EXEMPTIONS },
  );

const demand = (description: string): Schema => ({ description, type: 'boolean' });
const values = (description: string): Schema => texts(description, MAX_VALUES);
const allowing = (description: string, of: string): Schema =>
  open(description, { allow: values(of) });

const podSection = open(
  'What the fields of Pods may say. Every field that is set is asked for, beside the preset.',
  {
    preset: choice('A level of the Pod Security Standards.', ['baseline', 'restricted']),
    presetVersion: text('The Kubernetes version whose standards are meant. Default "latest".'),
    allowWeftCapture: demand(
      'The step that Weft injects to redirect traffic may run as root with NET_ADMIN. Default false.',
    ),
    runAsNonRoot: demand('true: every container says that it does not run as root.'),
    readOnlyRootFilesystem: demand('true: every container has a root file system it cannot write.'),
    privileged: demand('false: no container is privileged.'),
    allowPrivilegeEscalation: demand('false: no process gets more rights than its parent.'),
    automountServiceAccountToken: demand('false: no token for the API is mounted unasked.'),
    hostNetwork: demand("false: none in the node's network."),
    hostPID: demand("false: none among the node's processes."),
    hostIPC: demand("false: none in the node's IPC."),
    capabilities: open('Capabilities of containers.', {
      drop: values('Those that every container drops; ALL drops every one.'),
      allowAdd: values('Those that a container may add.'),
    }),
    hostPorts: open('Ports of the node.', {
      allow: list('Those that a container may take.', {
        type: 'integer',
        minimum: 1,
        maximum: 65_535,
      }),
    }),
    hostPaths: open('Paths of the node.', {
      allow: list(
        'Those that may be mounted.',
        open(
          'One path, and what is under it.',
          {
            path: text('From "/" on.', { minLength: 1, maxLength: MAX_PATH }),
            readOnly: demand('It must be mounted read-only. Default true.'),
          },
          { required: ['path'] },
        ),
      ),
    }),
    volumeTypes: values('Types of volumes that may be used: emptyDir, secret, …'),
    seccomp: allowing('Seccomp profiles; one must be set.', 'Their types.'),
    appArmor: allowing('AppArmor profiles, where one is set.', 'Their types.'),
    seLinux: open('SELinux options; user and role are never set.', {
      allowTypes: values('Types that may be set.'),
    }),
    procMount: allowing('How /proc is mounted, where it is said.', 'Values that may be set.'),
    sysctls: allowing('Sysctls that a Pod may set.', 'Their names.'),
    resources: open('Resources that every container must name, or its Pod for all.', {
      requests: values('Names, such as cpu. A limit counts as a request.'),
      limits: values('Names, such as memory.'),
    }),
  },
  { minProperties: 1 },
);

export const workloadPolicySpec = (scope: Scope): Schema =>
  open('What Pods, and whatever makes them, may be.', {
    mode: choice('What is done with what does not comply.', ADMISSION_MODES, {
      default: 'enforce',
    }),
    match: matchOf(scope),
    exemptions: exemptionsOf(scope),
    pod: podSection,
    images: imagesSection,
    vulnerabilities: vulnerabilitiesSection,
  });

/** All fields that the status writer fills, besides the conditions. */
export const admissionStatus: Readonly<Record<string, Schema>> = {
  rendered: text('Name of the ValidatingAdmissionPolicy by which the API server enforces it.'),
};
