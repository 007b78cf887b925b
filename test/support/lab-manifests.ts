// Writes the manifests of a test's mesh as text, as an operator would.

export interface PodSpec {
  readonly name: string;
  readonly ip: string;
  readonly ports: readonly number[];
  /** Default `shop`. */
  readonly namespace?: string;
  /** Default: the name without its number, `web` of `web-0`; also the label `app`. */
  readonly app?: string;
  /** Default: the app. */
  readonly serviceAccount?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export const NAMESPACE = 'shop';

export const appOf = (pod: string): string => pod.replace(/-[^-]*$/, '');

export function podYaml(pod: PodSpec): string {
  const { name, ip, ports, namespace = NAMESPACE, app = appOf(name), serviceAccount = app } = pod;
  const { annotations = {} } = pod;
  return `apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  namespace: ${namespace}
  labels: { app: ${app} }
  annotations: ${JSON.stringify(annotations)}
spec:
  serviceAccountName: ${serviceAccount}
  containers:
    - name: app
      ports: [${ports.map((port) => `{ containerPort: ${port} }`).join(', ')}]
status:
  phase: Running
  podIP: ${ip}
`;
}

export interface ServicePortSpec {
  /** The name says the protocol: `http`, `grpc-api`, `tcp-lines`, `auto`. */
  readonly name: string;
  readonly port: number;
  readonly targetPort: number;
}

export interface ServiceSpec {
  readonly name: string;
  readonly ports: readonly ServicePortSpec[];
  readonly namespace?: string;
  /** Default: the Service's name. */
  readonly app?: string;
  readonly clusterIP?: string;
}

export function serviceYaml(service: ServiceSpec): string {
  const { name, ports, namespace = NAMESPACE, app = name, clusterIP } = service;
  return `apiVersion: v1
kind: Service
metadata:
  name: ${name}
  namespace: ${namespace}
spec:
${clusterIP === undefined ? '' : `  clusterIP: ${clusterIP}\n`}  selector: { app: ${app} }
  ports:
${ports
  .map(
    ({ name, port, targetPort }) =>
      `    - { name: ${name}, port: ${port}, targetPort: ${targetPort} }\n`,
  )
  .join('')}`;
}

/** mTLS mode of a namespace, or of one app in it. */
export const modeYaml = (mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE', app?: string): string =>
  `apiVersion: security.weft.dev/v1
kind: PeerAuthentication
metadata:
  name: ${app ?? 'default'}
  namespace: ${NAMESPACE}
spec:
${app === undefined ? '' : `  selector:\n    matchLabels: { app: ${app} }\n`}  mtls:
    mode: ${mode}
`;

export interface PolicySpec {
  readonly name: string;
  readonly action: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';
  readonly app?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Of a CUSTOM policy. */
  readonly provider?: string;
  /** `rules:` as YAML flow text, `[{to: [{operation: {paths: ["/a"]}}]}]`. */
  readonly rules: string;
}

export const policyYaml = ({
  name,
  action,
  app,
  rules,
  annotations,
  provider,
}: PolicySpec): string =>
  `apiVersion: security.weft.dev/v1
kind: AuthorizationPolicy
metadata:
  name: ${name}
  namespace: ${NAMESPACE}
${annotations === undefined ? '' : `  annotations: ${JSON.stringify(annotations)}\n`}spec:
${app === undefined ? '' : `  selector:\n    matchLabels: { app: ${app} }\n`}  action: ${action}
${provider === undefined ? '' : `  provider: { name: ${provider} }\n`}  rules: ${rules}
`;
