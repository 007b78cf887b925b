// Builds the listener of a gRPC server without a proxy: mutual TLS with its own certificate, and the rules that judge every call.
import type { InboundSpec, MeshSettings } from '@weft/model/mesh/mesh';
import { ambiguousPathRules } from '@weft/model/policy/ambiguous-path';
import { compileCustom, compilePolicies } from '@weft/model/policy/compile';
import type { Permission, RbacRules } from '@weft/model/policy/rbac';
import type { TokenRule } from '@weft/model/policy/token-rules';
import { encodeAddress } from '@weft/xds/codec/address';
import { encodeAny } from '@weft/xds/codec/fields';
import { encodeRbac } from '@weft/xds/codec/rbac';
import { encodeBool, encodeExtension } from '@weft/xds/codec/well-known';
import type { PlainMessage } from '@weft/xds/registry';
import { rulesWithoutPeers } from '../rules-of-outsiders.ts';
import type { GrpcLibrary } from '../../serve/view-source.ts';
import type { ListeningAddress } from './grpc-names.ts';
import { HTTP_MANAGER, ROUTER } from './grpc-destinations.ts';
import { grpcRules } from './grpc-rules.ts';
import { DOWNSTREAM_TLS, TLS_SOCKET, ownIdentity, trustedRoots } from './grpc-tls.ts';

const RBAC_FILTER = 'envoy.extensions.filters.http.rbac.v3.RBAC';
/** What the names of rules begin with that stand for what a gRPC server cannot do. */
const UNSUPPORTED_RULES = 'weft-unsupported';

export interface ServerSpec {
  readonly name: string;
  readonly at: ListeningAddress;
  readonly inbound: InboundSpec;
  readonly library: GrpcLibrary;
}

/**
 * It cannot tell TLS from plaintext on one port: where a port is PERMISSIVE, mutual TLS is asked for all the same. Where
 * it is DISABLEd, the application's own credentials hold, and nobody is anybody of the mesh.
 */
export function buildServerListener({ name, at, inbound, library }: ServerSpec): PlainMessage {
  const mode = inbound.ports.find(({ port }) => port === at.port)?.mode ?? inbound.mode;
  const { sets } = serverRules(inbound, library);
  const isPlain = mode === 'DISABLE';
  const rules = isPlain ? sets.map(rulesWithoutPeers) : [ofTheMesh(inbound.settings), ...sets];
  const filters = [
    ...rules.map((set, index) =>
      encodeExtension(
        { name: `weft.rbac.${index}`, typeName: RBAC_FILTER },
        { rules: encodeRbac(set) },
      ),
    ),
    ROUTER,
  ];
  const manager = {
    stat_prefix: `inbound_${at.port}`,
    route_config: { name: 'inbound', virtual_hosts: [OWN_HOST] },
    http_filters: filters,
  };
  return {
    name,
    address: encodeAddress(at),
    traffic_direction: 'INBOUND',
    filter_chains: [
      {
        name: isPlain ? 'plain' : 'mesh',
        filters: [{ name: 'http', typed_config: encodeAny(HTTP_MANAGER, manager) }],
        ...(!isPlain && { transport_socket: MUTUAL_TLS }),
      },
    ],
  };
}

/** Its TLS takes every certificate of the bundle: whose roots issue others too, those are nobody of the mesh. */
const ofTheMesh = ({ trustDomain, trustDomainAliases }: MeshSettings): RbacRules => ({
  action: 'ALLOW',
  policies: [
    {
      name: 'weft-mesh',
      permissions: [{ kind: 'any' }],
      principals: [trustDomain, ...trustDomainAliases].map((one) => ({
        kind: 'authenticated',
        name: { kind: 'prefix', value: `spiffe://${one}/`, ignoreCase: false },
      })),
    },
  ],
});

const OWN_HOST: PlainMessage = {
  name: 'inbound',
  domains: ['*'],
  routes: [{ match: { prefix: '/' }, non_forwarding_action: {} }],
};

const MUTUAL_TLS: PlainMessage = encodeExtension(
  { name: TLS_SOCKET, typeName: DOWNSTREAM_TLS },
  {
    common_tls_context: { ...ownIdentity(), validation_context: trustedRoots() },
    require_client_certificate: encodeBool(true),
  },
);

/** Every set must let a call pass. */
export function serverRules(
  spec: InboundSpec,
  library: GrpcLibrary,
): { readonly sets: readonly RbacRules[]; readonly closed: readonly string[] } {
  const { trustDomain, trustDomainAliases, trustedHops } = spec.settings;
  const providers = new Set(spec.authorizers?.map(({ name }) => name));
  const options = { trustDomain, trustDomainAliases, protocol: 'http', providers } as const;
  const custom = compileCustom(spec.policies, options).map(({ rules }) => rules);
  const refused = spec.paths?.refused ?? [];
  const asWritten = [
    ...(refused.length === 0 ? [] : [ambiguousPathRules(refused)]),
    // Nobody asks for names and passwords there.
    ...(spec.login === undefined ? [] : [NOBODY]),
    // Nobody is asked: what somebody else was to decide is denied.
    ...custom,
    ...withoutTokens(spec.tokens ?? []),
    ...compilePolicies(spec.policies, spec.broken, options),
  ].filter(({ action }) => action !== 'LOG');
  const read = asWritten.map((rules) =>
    grpcRules(rules, { seesContentType: library === 'go', trustedHops }),
  );
  const asked = custom.flatMap(({ policies }) => policies.map(({ name }) => name));
  const closed = [...asked, ...read.flatMap((one) => one.closed)];
  const sets = read.map(({ rules }) => rules);
  return { sets: sets.length === 0 ? [] : [ODD_PATHS, ...sets], closed };
}

/**
 * A call's path is `/SERVICE/METHOD`, and rules are asked about it as it came. What rules and whoever serves any method
 * could read differently (a query, other spellings of a path) is nobody's method, and denied where there are rules.
 */
const ODD_PATHS: RbacRules = {
  action: 'DENY',
  policies: [
    {
      name: `${UNSUPPORTED_RULES}-paths`,
      permissions: [
        ...['?', '#', '%', '\\', '//', '/./', '/../'].map(
          (value): Permission => ({
            kind: 'urlPath',
            path: { kind: 'contains', value, ignoreCase: false },
          }),
        ),
        // Some versions of grpc-go call the method all the same (CVE-2026-33186).
        {
          kind: 'not',
          rule: { kind: 'urlPath', path: { kind: 'prefix', value: '/', ignoreCase: false } },
        },
      ],
      principals: [{ kind: 'any' }],
    },
  ],
};

const NOBODY: RbacRules = { action: 'ALLOW', policies: [] };

/** Tokens cannot be checked there: a call that brings one where one is looked for is denied, as if it were bad. */
function withoutTokens(tokens: readonly TokenRule[]): readonly RbacRules[] {
  const permissions = tokens.flatMap(tokenPlaces);
  if (permissions.length === 0) return [];
  const policy = {
    name: `${UNSUPPORTED_RULES}-tokens`,
    permissions,
    principals: [{ kind: 'any' as const }],
  };
  return [{ action: 'DENY', policies: [policy] }];
}

function tokenPlaces({ fromHeaders, fromParams, fromCookies }: TokenRule): readonly Permission[] {
  const contains = (value: string) =>
    ({ kind: 'string', string: { kind: 'contains', value, ignoreCase: true } }) as const;
  const header = (name: string, value: string): Permission => ({
    kind: 'header',
    header: { name, match: value === '' ? { kind: 'present' } : contains(value), invert: false },
  });
  return [
    ...fromHeaders.map(({ name, prefix }) => header(name, prefix.trim())),
    ...fromCookies.map((name) => header('cookie', `${name}=`)),
    ...fromParams.map(
      (name): Permission => ({ kind: 'urlPath', path: contains(`${name}=`).string }),
    ),
  ];
}
