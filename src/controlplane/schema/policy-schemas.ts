// What the API server takes for an AuthorizationPolicy and a PeerAuthentication.
import {
  OPERATION_FIELDS,
  type OperationField,
  SOURCE_FIELDS,
  type SourceField,
} from '@weft/model/policy/types';
import { choice, list, open, type Schema, selector, text, texts } from './schema.ts';

/** The parsers' bounds (parse-authorization-policy.ts, parse-values.ts). */
const MAX_RULES = 512;
const MAX_ENTRIES = 512;
const MAX_TARGETS = 16;
const MAX_VALUES = 4_096;
const MAX_SERVICE_ACCOUNTS = 16;
const MAX_SERVICE_ACCOUNT_LENGTH = 320;

const SOURCES: Readonly<Record<SourceField, string>> = {
  principals:
    'Certificate identities, as "cluster.local/ns/shop/sa/web"; "*" may begin or end one.',
  requestPrincipals: 'Token identities, "ISSUER/SUBJECT"; "*" may begin or end one.',
  namespaces: "Namespaces of the callers' certificates.",
  serviceAccounts: 'Service accounts of the callers, "NAME" or "NAMESPACE/NAME".',
  ipBlocks: 'Addresses of the connections, "10.0.0.0/8" or single ones.',
  remoteIpBlocks: 'Addresses of the first callers, by X-Forwarded-For and trustedHops.',
  trustDomains: "Trust domains of the callers' certificates.",
};

const OPERATIONS: Readonly<Record<OperationField, string>> = {
  hosts: 'Hosts that are asked for; "*" may begin or end one.',
  ports: 'Ports of the workload, as texts: "8080".',
  methods: 'HTTP methods; for gRPC "POST".',
  paths: 'Paths without query; "*" may begin or end one, {*} and {**} stand for whole segments.',
};

const notName = (name: string): string => `not${name.charAt(0).toUpperCase()}${name.slice(1)}`;

function fieldsOf<F extends SourceField | OperationField>(
  names: readonly F[],
  descriptions: Readonly<Record<F, string>>,
): Readonly<Record<string, Schema>> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const isAccount = name === 'serviceAccounts';
      const max = isAccount ? MAX_SERVICE_ACCOUNTS : MAX_VALUES;
      const bounds = isAccount ? { maxLength: MAX_SERVICE_ACCOUNT_LENGTH } : {};
      const not = `None of these: as ${name}.`;
      return [
        [name, texts(descriptions[name], max, bounds)],
        [notName(name), texts(not, max, bounds)],
      ];
    }),
  );
}

const from = list(
  'Who calls: one of these sources. Absent: everybody, also without an identity.',
  open(
    'One source; all fields that are set must match.',
    {
      source: open('What the caller is.', fieldsOf(SOURCE_FIELDS, SOURCES), { minProperties: 1 }),
    },
    { required: ['source'] },
  ),
  { minItems: 1, maxItems: MAX_ENTRIES },
);

const to = list(
  'What is called: one of these operations. Absent: everything.',
  open(
    'One operation; all fields that are set must match.',
    {
      operation: open('What is asked for.', fieldsOf(OPERATION_FIELDS, OPERATIONS), {
        minProperties: 1,
      }),
    },
    { required: ['operation'] },
  ),
  { minItems: 1, maxItems: MAX_ENTRIES },
);

const when = list(
  'What else must hold: all of these conditions.',
  open(
    'One condition.',
    {
      key: text(
        'An attribute: "source.ip", "request.headers[x-team]", "request.auth.claims[role]".',
        {
          minLength: 1,
        },
      ),
      values: texts('One of these.', MAX_VALUES),
      notValues: texts('None of these.', MAX_VALUES),
    },
    {
      required: ['key'],
      'x-kubernetes-validations': [
        {
          rule: 'has(self.values) || has(self.notValues)',
          message: 'a condition needs values or notValues',
        },
      ],
    },
  ),
  { maxItems: MAX_ENTRIES },
);

export const rulesSchema = (
  description: string,
  bounds: { readonly minItems?: number } = {},
): Schema =>
  list(description, open('All of from, to and when must match.', { from, to, when }), {
    maxItems: MAX_RULES,
    ...bounds,
  });

const target = open(
  'What else than Pods a policy is for. Read, and not applied by this version.',
  {
    group: text("The target's API group; empty for core."),
    kind: text("The target's kind."),
    name: text("The target's name.", { minLength: 1 }),
    namespace: text("Must be the policy's own, so leave it out."),
  },
  { required: ['kind', 'name'] },
);

export const targets: Readonly<Record<string, Schema>> = {
  targetRef: target,
  targetRefs: list('As targetRef, several.', target, { maxItems: MAX_TARGETS }),
};

export const ONE_SCOPE = {
  rule: '[has(self.selector), has(self.targetRef), has(self.targetRefs)].filter(x, x).size() <= 1',
  message: 'only one of selector, targetRef and targetRefs can be set',
};

/** Defaults are the parser's: what is not said is the same to both. */
export const authorizationPolicySpec: Schema = open(
  'Who may call what. Without any policy everything is allowed; with one ALLOW, only what one allows.',
  {
    selector: selector(
      'Pods of this namespace it holds for. Absent: all; in the root namespace, all of the mesh.',
    ),
    ...targets,
    action: choice(
      'DENY is asked first, then CUSTOM, then ALLOW. AUDIT notes what matches and decides nothing.',
      ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'],
      { default: 'ALLOW' },
    ),
    provider: open('Whom CUSTOM asks.', {
      name: text('An extensionProvider of the MeshConfig.'),
    }),
    rules: rulesSchema(
      'One of these must match. An empty rule always does; ALLOW without rules allows nothing.',
    ),
  },
  {
    default: { action: 'ALLOW' },
    'x-kubernetes-validations': [
      ONE_SCOPE,
      {
        rule: '!(self.action in ["DENY", "CUSTOM"]) || (has(self.rules) && size(self.rules) > 0)',
        message:
          'DENY and CUSTOM without rules never apply; add an empty rule "- {}" for every request',
      },
      {
        rule: 'self.action != "CUSTOM" || (has(self.provider) && has(self.provider.name) && self.provider.name != "")',
        message: 'action CUSTOM needs the name of a provider: set spec.provider.name',
      },
      {
        rule: 'self.action == "CUSTOM" || !has(self.provider)',
        message: 'a provider goes with action CUSTOM alone: remove spec.provider',
      },
    ],
  },
);

const mtls = (description: string): Schema =>
  open(description, {
    mode: choice('UNSET inherits: from the namespace, then from the mesh, then PERMISSIVE.', [
      'UNSET',
      'DISABLE',
      'PERMISSIVE',
      'STRICT',
    ]),
  });

export const peerAuthenticationSpec: Schema = open(
  'Whether callers must show a certificate of the mesh.',
  {
    selector: selector(
      'Pods of this namespace it holds for. Absent: all; in the root namespace, all of the mesh.',
    ),
    mtls: mtls('For all ports.'),
    portLevelMtls: {
      description: 'For single ports of the workload, by number; needs a selector.',
      type: 'object',
      minProperties: 1,
      additionalProperties: mtls('For this port.'),
    },
  },
  {
    default: {},
    'x-kubernetes-validations': [
      {
        rule: '!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0)',
        message: 'port modes need a selector: set spec.selector.matchLabels',
      },
    ],
  },
);
