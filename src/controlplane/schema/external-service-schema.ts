// What the API server takes for an ExternalService.
import {
  EXTERNAL_PROTOCOLS,
  MAX_ADDRESSES,
  MAX_HOSTS,
  MAX_PORTS,
} from '@weft/model/egress/parse-external-service';
import { choice, list, open, type Schema, text, texts } from './schema.ts';

/** The parsers' bounds (src/model/egress). */
const MAX_CALLERS = 256;
const MAX_NETWORKS = 16;
const MAX_NAMES = 64;
const MAX_TTL = 86_400;

const port = (description: string): Schema => ({
  description,
  type: 'integer',
  minimum: 1,
  maximum: 65_535,
});
const seconds = (description: string): Schema => ({
  description,
  type: 'integer',
  minimum: 1,
  maximum: MAX_TTL,
});
const objectName = text('Its name, in the namespace of the ExternalService.', { minLength: 1 });
const path = (description: string): Schema => text(description, { minLength: 1, maxLength: 4_096 });
const keyed = (description: string): Schema =>
  open(description, { name: objectName, key: text('Default "ca.crt".', { minLength: 1 }) });

const tls: Schema = open(
  'How connections that the sidecar makes are secured. Absent: as the caller speaks.',
  {
    mode: choice('MUTUAL shows a certificate.', ['NONE', 'SIMPLE', 'MUTUAL'], {
      default: 'SIMPLE',
    }),
    ca: open('Whom to believe: one of these. Absent: the roots that the system trusts.', {
      configMap: keyed('A key of a ConfigMap.'),
      secret: keyed('A key of a Secret.'),
      file: path('A file beside the sidecar.'),
      system: { description: 'The roots that the system trusts.', type: 'boolean' },
    }),
    sni: text('The server name that is asked for. Default: the host.', { minLength: 1 }),
    subjectAltNames: texts(
      'Names of which the certificate must carry one: DNS names, addresses, spiffe:// URIs. Default: sni, else the host.',
      MAX_NAMES,
    ),
    clientCertificate: open('What is shown in the mode MUTUAL: one of these.', {
      secret: open('A Secret of type kubernetes.io/tls.', { name: objectName }),
      files: open('Files beside the sidecar, read again when they change.', {
        certificate: path('Leaf first.'),
        key: path('Its private key.'),
      }),
    }),
    minVersion: choice('At least.', ['TLSv1_2', 'TLSv1_3'], { default: 'TLSv1_2' }),
  },
);

export const externalServiceSpec: Schema = open(
  'A host outside the mesh: how it is reached, and who may call it.',
  {
    hosts: texts('DNS names; "*.example.com" where every port is TLS.', MAX_HOSTS, {
      maxLength: 253,
    }),
    ports: list(
      'As callers name them.',
      open(
        'One port.',
        {
          number: port('As callers name it.'),
          name: text('For people.'),
          protocol: choice(
            "What callers speak to their sidecar. HTTPS and TLS: the caller's own TLS, passed on by its server name.",
            [...EXTERNAL_PROTOCOLS.keys()],
          ),
          targetPort: port('Outside. Default: number.'),
        },
        { required: ['number', 'protocol'] },
      ),
      { minItems: 1, maxItems: MAX_PORTS, 'x-kubernetes-list-type': 'atomic' },
    ),
    resolution: choice('Where its addresses come from.', ['DNS', 'STATIC'], { default: 'DNS' }),
    addresses: texts('With STATIC.', MAX_ADDRESSES, { maxLength: 45 }),
    dns: open('How long answers are held.', {
      minTtlSeconds: seconds('At least. Default 5.'),
      maxTtlSeconds: seconds('At most. Default 300.'),
    }),
    allowedNetworks: texts(
      'Networks that names may lead to although they must not by themselves: loopback, link-local, metadata services.',
      MAX_NETWORKS,
      { maxLength: 49 },
    ),
    tls,
    exportTo: texts(
      'Namespaces that see it, "." for its own, "*" for all. In the root namespace alone; others are seen by their own.',
      MAX_CALLERS,
      { maxLength: 63 },
    ),
    allowedCallers: open('Who may call. Absent: everybody who sees it; empty: nobody.', {
      principals: texts('As cluster.local/ns/shop/sa/web; a star at one end.', MAX_CALLERS),
      namespaces: texts('Of callers.', MAX_CALLERS, { maxLength: 63 }),
    }),
  },
  { required: ['hosts', 'ports'] },
);
