// Every value that the Helm chart takes, with default, schema and meaning: values.yaml, values.schema.json and the reference are made of it.
import { VERSION } from '../version.ts';

type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

export interface ValueLeaf {
  readonly says: string;
  readonly default: Json;
  /** JSON Schema of it, without description. */
  readonly schema: { readonly [key: string]: Json };
}

export interface ValueGroup {
  readonly says: string;
  readonly values: ValueTree;
}

export interface ValueTree {
  readonly [key: string]: ValueLeaf | ValueGroup;
}

const leaf = (says: string, value: Json, schema: ValueLeaf['schema']): ValueLeaf => ({
  says,
  default: value,
  schema,
});

const text = (says: string, value: string, more: ValueLeaf['schema'] = {}): ValueLeaf =>
  leaf(says, value, { type: 'string', ...more });
const oneOf = (says: string, value: string, ...names: readonly string[]): ValueLeaf =>
  text(says, value, { enum: names });
const flag = (says: string, value: boolean): ValueLeaf => leaf(says, value, { type: 'boolean' });
const whole = (says: string, value: number, minimum: number, maximum: number): ValueLeaf =>
  leaf(says, value, { type: 'integer', minimum, maximum });
const texts = (says: string, ...value: readonly string[]): ValueLeaf =>
  leaf(says, value, { type: 'array', items: { type: 'string' }, uniqueItems: true });
/** Handed to Kubernetes as it is, whose API server checks it. */
const mapping = (says: string, value: Json = {}): ValueLeaf =>
  leaf(says, value, { type: 'object', additionalProperties: true });
const objects = (says: string): ValueLeaf =>
  leaf(says, [], { type: 'array', items: { type: 'object' } });

const DURATION = { pattern: '^[0-9]+(ms|s|m|h)$' };
const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];

const image = (says: string, repository: string): ValueGroup => ({
  says,
  values: {
    repository: text('Where it is pulled from, without a tag.', repository, { minLength: 1 }),
    tag: text(`Empty: the version of the chart, ${VERSION}.`, ''),
    digest: text('`sha256:…`; where there is one, the tag is only for the reader.', '', {
      pattern: '^(sha256:[0-9a-f]{64})?$',
    }),
  },
});

const QUANTITY = '[0-9]+(\\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?';
/** A bare number is what YAML makes of `1`. */
const quantity = (says: string, value: string): ValueLeaf =>
  leaf(says, value, {
    type: ['string', 'number'],
    pattern: value === '' ? `^(${QUANTITY})?$` : `^${QUANTITY}$`,
  });

export const CHART_VALUES: ValueTree = {
  trustDomain: text(
    'Of every identity: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`. It cannot be changed once there is a CA.',
    'cluster.local',
    { minLength: 1, maxLength: 255, pattern: '^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$' },
  ),
  watchNamespaces: texts(
    'Namespaces of the mesh. Empty: the whole cluster. With names, nothing is read in any other but the root namespace.',
  ),
  replicas: whole(
    'Control planes. All serve; one leads. Three for a cluster that matters (`values-ha.yaml`).',
    1,
    1,
    32,
  ),
  image: image("The control plane's image.", 'weft/control-plane'),
  imagePullPolicy: oneOf('Of all three images.', 'IfNotPresent', ...PULL_POLICIES),
  imagePullSecrets: objects("Of the control plane's Pods: `- name: SECRET`."),
  logLevel: oneOf(
    'Of the control plane.',
    'info',
    'trace',
    'debug',
    'info',
    'warn',
    'error',
    'fatal',
  ),
  listenHost: text(
    'Where the control plane listens. `0.0.0.0` where nodes have IPv6 switched off.',
    '[::]',
    { minLength: 1 },
  ),
  ca: {
    says: 'Certificates.',
    values: {
      secretName: text(
        'A Secret of type kubernetes.io/tls in the root namespace with a CA of your own (`tls.crt`, `tls.key`, `ca.crt`). Empty: Weft makes its own root.',
        '',
      ),
      svidTtl: text('Life of the certificates of workloads.', '1h', DURATION),
      rotationGrace: text(
        'How long requests on older connections may take before a previous root is retired.',
        '10s',
        DURATION,
      ),
      tokenIssuer: text(
        'Where others reach the keys of JWT SVIDs, `https://...`: an address that you lead to the health port (docs/spiffe.md). Empty: tokens name no issuer.',
        '',
      ),
    },
  },
  federation: {
    says: 'Federation with other trust domains (docs/federation.md).',
    values: {
      endpoint: {
        says: 'Where they fetch our SPIFFE bundle: port 8443 of the Service, which you let them reach.',
        values: {
          enabled: flag('Serve it.', false),
          tlsSecret: text(
            'A Secret of type kubernetes.io/tls in the root namespace with a certificate that everybody believes (https_web). Empty: its own SVID (https_spiffe).',
            '',
          ),
          refreshHint: text(
            'How often others are told to fetch it; a new root signs after twice that.',
            '5m',
            DURATION,
          ),
        },
      },
    },
  },
  credentials: {
    says: 'What CredentialBindings may hand over (docs/credentials.md).',
    values: {
      secrets: leaf(
        'Secrets that the control plane may read, by namespace: `shop: [shop-db]`. Without a name here no Secret of an application can be read.',
        {},
        {
          type: 'object',
          additionalProperties: {
            type: 'array',
            minItems: 1,
            items: { type: 'string', minLength: 1 },
          },
        },
      ),
      sources: objects('Folders, Vault and OpenBao, as in the file of `--credential-sources`.'),
      vaultAudience: text(
        'Of the token with which it logs in at Vault, `vault` for example. Empty: it has none.',
        '',
      ),
      volumes: objects("Of the control plane's Pods: for sources that are folders, and roots."),
      volumeMounts: objects('Where it finds those.'),
    },
  },
  registries: {
    says: 'How registries of images are reached, for signatures (docs/admission.md).',
    values: {
      plain: leaf('Registries, `HOST[:PORT]`, that are spoken to without TLS.', [], {
        type: 'array',
        items: { type: 'string', minLength: 1 },
      }),
      networks: leaf(
        'Networks that are not public and may be called all the same, `10.0.0.0/8`.',
        [],
        { type: 'array', items: { type: 'string', minLength: 1 } },
      ),
      loginSecret: text(
        'Secret of the type kubernetes.io/dockerconfigjson in its namespace, with logins. Empty: none.',
        '',
      ),
    },
  },
  reportInterval: text('How often sidecars report who called whom.', '10s', DURATION),
  sidecar: {
    says: 'What Pods get; their annotations may say otherwise (docs/injection.md).',
    values: {
      image: image("The sidecar's image.", 'weft/sidecar'),
      cpu: quantity('CPU that it asks for.', '50m'),
      memory: quantity('Memory that it asks for.', '96Mi'),
      cpuLimit: quantity('CPU that it may use. Empty: no limit.', ''),
      memoryLimit: quantity('Memory that it may use.', '256Mi'),
      logLevel: oneOf('', 'info', 'trace', 'debug', 'info', 'warn', 'error', 'fatal'),
      accessLog: oneOf('Which requests are logged.', 'errors', 'off', 'errors', 'all'),
      drainTime: text('How long requests in flight may take at the end.', '10s', DURATION),
    },
  },
  envoy: {
    says: 'Sidecars of Pods that ask for an Envoy (weft.dev/proxy: envoy; docs/envoy.md).',
    values: { image: image('Their image.', 'weft/sidecar-envoy') },
  },
  capture: {
    says: 'The init container that redirects traffic.',
    values: { image: image('Its image.', 'weft/capture') },
  },
  injector: {
    says: 'The webhook that puts sidecars into Pods.',
    values: {
      enabled: flag('Without it: `weft inject`.', true),
      timeoutSeconds: whole('After which a Pod is refused, to be tried again.', 10, 1, 30),
      excludedNamespaces: texts(
        "Never asked about, whatever their labels; the root namespace and Kubernetes' own are never either.",
      ),
    },
  },
  validator: {
    says: "The webhook that refuses objects of Weft's kinds that cannot mean anything.",
    values: {
      enabled: flag(
        'Without it such objects are kept, are not in force, and say why in their status.',
        true,
      ),
      timeoutSeconds: whole('After which a change is refused.', 10, 1, 30),
      failurePolicy: oneOf(
        '`Ignore` lets objects pass unchecked while no control plane answers.',
        'Fail',
        'Fail',
        'Ignore',
      ),
    },
  },
  workloads: {
    says: "What WorkloadPolicies ask of Pods: by the API server's own policies, and a webhook that warns and counts.",
    values: {
      enabled: flag('Without it WorkloadPolicies are read, and enforced by nobody.', true),
    },
  },
  crds: {
    says: 'The CustomResourceDefinitions.',
    values: {
      install: flag(
        'With the chart, and upgraded with it; they stay when it is uninstalled, for with them every policy would go.',
        true,
      ),
    },
  },
  resources: mapping('Of the control plane.', {
    requests: { cpu: '100m', memory: '256Mi' },
    limits: { memory: '1Gi' },
  }),
  preStopSeconds: whole(
    'How long a control plane that is being stopped still serves, until nobody is sent to it any more.',
    5,
    0,
    120,
  ),
  terminationGracePeriodSeconds: whole('After which it is killed.', 30, 1, 600),
  podDisruptionBudget: {
    says: 'For more than one replica.',
    values: {
      enabled: flag('', false),
      maxUnavailable: whole('Replicas that may be away at once.', 1, 1, 31),
    },
  },
  topologySpread: {
    says: 'Over which parts of the cluster replicas are spread.',
    values: {
      enabled: flag('', false),
      topologyKeys: texts(
        'Labels of nodes.',
        'topology.kubernetes.io/zone',
        'kubernetes.io/hostname',
      ),
      whenUnsatisfiable: oneOf('', 'ScheduleAnyway', 'ScheduleAnyway', 'DoNotSchedule'),
    },
  },
  antiAffinity: oneOf(
    'Keeps replicas off the same node: `none`, `preferred`, or `required` (then a replica waits for a node).',
    'none',
    'none',
    'preferred',
    'required',
  ),
  nodeSelector: mapping('Labels of nodes on which it may run.'),
  tolerations: objects('As in a Pod.'),
  podAnnotations: mapping("Of the control plane's Pods."),
  podLabels: mapping("Of the control plane's Pods, beside its own."),
  priorityClass: {
    says: 'Whether the control plane is kept when a node is short: no Pod of the mesh starts without it.',
    values: {
      name: text('One that is there. Empty: none, or the one made here.', ''),
      create: flag('Make one named `weft-control-plane`.', false),
      value: whole('Its priority.', 1_000_000, 1, 1_000_000_000),
    },
  },
  networkPolicy: {
    says: "Closes every port of the control plane's Pods but its own.",
    values: {
      enabled: flag('', false),
      metricsFrom: objects(
        'Who may reach health and metrics, as `from` of a NetworkPolicy. Empty: everybody.',
      ),
    },
  },
  serviceMonitor: {
    says: 'For the Prometheus operator, whose CRDs must be there.',
    values: {
      enabled: flag('', false),
      interval: text('', '30s', DURATION),
      labels: mapping('By which the operator finds it.'),
    },
  },
  rbac: {
    says: 'Who may do what with the mesh.',
    values: {
      aggregate: flag(
        "Adds reading Weft's kinds to Kubernetes' ClusterRole `view`, and writing policies to `admin`. `edit` cannot: policies say who may call whom.",
        true,
      ),
    },
  },
};

export const isGroup = (node: ValueLeaf | ValueGroup): node is ValueGroup => 'values' in node;
