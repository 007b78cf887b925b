// What docs/data-planes.md compares: the data planes, and what each of them is asked to do; tests say which they showed.

export const PLANES = {
  weft: "Weft's sidecar",
  envoy: 'Envoy 1.40',
  'envoy-before': 'Envoy 1.39',
  'grpc-go': 'grpc-go',
  'grpc-python': 'Python grpcio',
  'grpc-js': 'grpc-js',
} as const;
export type Plane = keyof typeof PLANES;

export const CAPABILITIES = {
  enrols: 'takes its identity and everything else from the control plane, through the agent',
  'http1-called': 'is called over HTTP/1.1 and mutual TLS',
  'http2-called': 'is called over HTTP/2 and mutual TLS',
  'grpc-called': 'is called by gRPC and mutual TLS',
  'tcp-called': 'is called over TCP and mutual TLS',
  passthrough: "lets the application's own TLS through",
  permissive: 'takes mutual TLS and plaintext at one port, and plaintext no more under STRICT',
  'rules-http': 'enforces AuthorizationPolicy on requests',
  'rules-tcp': 'enforces AuthorizationPolicy on connections',
  'rules-agree': 'decides the recorded requests as Istio and Envoy do',
  jwt: 'enforces RequestAuthentication (JWT)',
  'ext-authz': 'asks external authorizers (CUSTOM)',
  paths: 'normalises paths before rules see them',
  xfcc: 'tells the application who calls (XFCC), and takes no forged word for it',
  'access-log': 'names the policy that decided in its access log',
  'by-vip': 'calls a Service by its cluster IP',
  headless: 'calls members of a headless Service',
  'http1-calls': 'calls over HTTP/1.1',
  'http2-calls': 'calls over HTTP/2',
  'grpc-calls': 'calls by gRPC',
  'tcp-calls': 'calls over TCP',
  'calls-weft': "calls workloads behind Weft's sidecar",
  'calls-envoy': 'calls workloads behind an Envoy',
  'calls-grpc': 'calls gRPC servers without a proxy',
  'exact-identity': 'calls no server of another identity than the one that must answer',
  balances: 'spreads calls over endpoints, and follows their changes',
  retries: 'sends again what routes say',
  timeouts: 'keeps the time limits of routes',
  'leaf-rotation': 'takes new certificates without a failed call',
  'root-rotation': 'takes new roots without a failed call',
  federates: 'believes callers of federated trust domains, each root for its own names alone',
  'without-control-plane':
    'goes on while the control plane is away, and follows it when it is back',
  status: 'is told of by the status of policies',
  drains: 'ends what is in flight before it ends',
} as const;
export type Capability = keyof typeof CAPABILITIES;

const NO_PROXY = 'no proxy: gRPC alone';
const CLOSED = 'closed ([grpc.md](grpc.md))';
const GRPC_ONLY: { readonly [K in Capability]?: string } = {
  permissive: 'mutual TLS always',
  jwt: CLOSED,
  'ext-authz': CLOSED,
  paths: 'odd paths are denied',
  xfcc: 'it knows its caller itself',
  'access-log': NO_PROXY,
  headless: 'by name',
  drains: 'its own affair',
  federates: 'its own mesh alone',
  'http1-called': NO_PROXY,
  'http2-called': NO_PROXY,
  'tcp-called': NO_PROXY,
  passthrough: NO_PROXY,
  'rules-tcp': NO_PROXY,
  'by-vip': 'by name',
  'http1-calls': NO_PROXY,
  'http2-calls': NO_PROXY,
  'tcp-calls': NO_PROXY,
};

/** What a data plane has not by its nature, and why; whatever else no test shows is said to be not shown. */
export const ABSENT: { readonly [P in Plane]: { readonly [K in Capability]?: string } } = {
  weft: {},
  envoy: {},
  'envoy-before': {},
  'grpc-go': GRPC_ONLY,
  'grpc-python': GRPC_ONLY,
  'grpc-js': GRPC_ONLY,
};
