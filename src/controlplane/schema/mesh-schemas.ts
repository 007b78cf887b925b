// What the API server takes for a MeshConfig, and for the TrustBundle that Weft writes itself.
import { DEFAULT_MESH_CONFIG } from '@weft/model/mesh/config';
import { choice, closed, list, open, type Schema, text, texts } from './schema.ts';

/** The readers' bounds (read-mesh-config.ts, read-extension-providers.ts). */
const MAX_ALIASES = 64;
const MAX_NETWORKS = 64;
const MAX_TRUSTED_HOPS = 16;
const MAX_PROVIDERS = 64;
const MAX_HEADERS = 128;
const MAX_PROVIDER_NAME = 64;

/** Absent and `null` are the same to the reader; so they are here. */
const absentable = (schema: Schema): Schema => ({ ...schema, nullable: true });
const headers = (description: string): Schema => absentable(texts(description, MAX_HEADERS));

const authorizer = {
  service: text("The Service's whole name, authz.shop.svc.cluster.local.", { minLength: 1 }),
  port: {
    description: 'The port of the Service.',
    type: 'integer',
    minimum: 1,
    maximum: 65_535,
  },
  timeout: absentable(text('How long an answer may take. Default 10s, at most 10m.')),
  failOpen: absentable({
    description: 'Requests pass while it gives no answer. Default false: they are refused.',
    type: 'boolean',
  }),
  statusOnError: absentable(
    text('What callers get while it gives no answer: "400" to "511". Default "403".'),
  ),
} satisfies Readonly<Record<string, Schema>>;

const required = ['service', 'port'];

const provider = open(
  'One authorizer, by gRPC or HTTP.',
  {
    name: text('The name by which policies mean it.', {
      minLength: 1,
      maxLength: MAX_PROVIDER_NAME,
    }),
    envoyExtAuthzGrpc: absentable(
      open("Asked by Envoy's gRPC protocol for external authorization.", authorizer, { required }),
    ),
    envoyExtAuthzHttp: absentable(
      open(
        'Asked by an HTTP request; status 200 allows.',
        {
          ...authorizer,
          pathPrefix: absentable(text('Put before the path of the request.')),
          includeRequestHeadersInCheck: headers('Headers of the request that it is told.'),
          includeAdditionalHeadersInCheck: absentable({
            description: 'Headers with fixed values that it is told besides.',
            type: 'object',
            maxProperties: MAX_HEADERS,
            additionalProperties: { type: 'string', maxLength: 8_192 },
          }),
          headersToUpstreamOnAllow: headers('Headers of its answer that the application gets.'),
          headersToDownstreamOnDeny: headers('Headers of its answer that a refused caller gets.'),
        },
        { required },
      ),
    ),
  },
  { required: ['name'] },
);

const { pathNormalization, ambiguousPaths, outboundTrafficPolicy, trustedHops } =
  DEFAULT_MESH_CONFIG;

/** Kept by `null` where there is a default: the API server puts the default in its place. */
export const meshConfigSpec: Schema = open(
  'Settings of the whole mesh. There is one, in the namespace of the control plane.',
  {
    trustDomainAliases: absentable(
      texts('Other names of the trust domain, accepted beside it during a migration.', MAX_ALIASES),
    ),
    pathNormalization: choice(
      'How paths are read before policies are asked.',
      ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'],
      { default: pathNormalization },
    ),
    ambiguousPaths: choice(
      'Whether paths that an application may read differently are answered with 400.',
      ['NORMALIZE', 'REFUSE'],
      { default: ambiguousPaths },
    ),
    outboundTrafficPolicy: choice(
      'What happens to calls to where the mesh knows nothing of.',
      ['ALLOW_ANY', 'REGISTRY_ONLY'],
      { default: outboundTrafficPolicy },
    ),
    outboundTrafficPolicyByNamespace: absentable({
      description: 'The same for callers of single namespaces, by their names.',
      type: 'object',
      maxProperties: 4_096,
      additionalProperties: { type: 'string', enum: ['ALLOW_ANY', 'REGISTRY_ONLY'] },
    }),
    extensionProviders: absentable(
      list('Whom CUSTOM policies may ask.', provider, { maxItems: MAX_PROVIDERS }),
    ),
    trustedHops: {
      description: 'Proxies in front of the mesh whose X-Forwarded-For is believed.',
      type: 'integer',
      minimum: 0,
      maximum: MAX_TRUSTED_HOPS,
      default: trustedHops,
    },
    jwksAllowedNetworks: absentable(
      texts('Networks that are not public and may hold keys of token issuers.', MAX_NETWORKS),
    ),
  },
  { default: {} },
);

export const trustBundleSpec: Schema = closed(
  'What an operator asks of the trust in this mesh.',
  {
    rotate: text('Any text, for example a date. When it changes, the root is rotated.', {
      maxLength: 256,
    }),
  },
  { default: {} },
);

const time = (description: string): Schema => ({
  description,
  type: 'string',
  format: 'date-time',
});

/** All fields that its writer fills, besides the conditions. */
export const trustBundleStatus: Readonly<Record<string, Schema>> = {
  trustDomain: text('The trust domain of the mesh.'),
  bundleVersion: text('Which roots are trusted, as a short hash.'),
  phase: text('How far a rotation has come.'),
  waitsFor: list('What it waits for.', text('A reason.'), { 'x-kubernetes-list-type': 'atomic' }),
  observedRotate: text('The spec.rotate that was last acted on.'),
  roots: list(
    'The roots that are trusted.',
    closed('One root.', {
      keyId: text('Of its key.'),
      subject: text('Of its certificate.'),
      fingerprint: text('SHA-256 of its certificate.'),
      notBefore: time('When its life begins.'),
      notAfter: time('When it ends.'),
      isActive: { description: 'It signs what is issued now.', type: 'boolean' },
    }),
    { 'x-kubernetes-list-type': 'atomic' },
  ),
};
