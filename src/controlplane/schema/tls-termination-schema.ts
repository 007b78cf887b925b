// The schema of TlsTermination: the shape that its parser reads, and what the API server can refuse before it.
import { CIPHER_SUITES } from '@weft/model/tls/types';
import { choice, list, open, type Schema, selector, text, texts } from './schema.ts';

const PATH = { minLength: 1, maxLength: 4_096 } as const;
const port = (description: string): Schema => ({
  description,
  type: 'integer',
  minimum: 1,
  maximum: 65_535,
});
const flag = (description: string): Schema => ({ description, type: 'boolean' });

const secretName = (description: string): Schema =>
  text(description, { minLength: 1, maxLength: 253 });

const certificates: Schema = list(
  'What clients are shown: the first whose names have the one that they ask for, else the first of all. Secrets or files, not both.',
  open('One certificate, from a Secret or from files.', {
    secret: secretName('A kubernetes.io/tls Secret of this namespace: tls.crt and tls.key.'),
    file: open('Files beside the sidecar; read anew when they change.', {
      certificate: text('The certificate and those that vouch for it, as PEM.', PATH),
      key: text('Its key, as PEM.', PATH),
    }),
  }),
  { minItems: 1, maxItems: 32 },
);

const constraints: Schema = open(
  'What a certificate must say. Of each list one entry must fit; what is left out is not asked for.',
  {
    issuers: texts('Whole distinguished names as RFC 4514 writes them; * as a value is any.', 256),
    subjects: texts('The same of the subject.', 256),
    subjectAltNames: list(
      'Names of the client.',
      open('One pattern.', {
        type: choice('Of which kind the name is.', ['DNS', 'URI', 'EMAIL']),
        value: text('The name, or with one * at its beginning or end.', { minLength: 1 }),
      }),
      { minItems: 1, maxItems: 256 },
    ),
    extendedKeyUsages: texts('Besides clientAuth, all of these: names or OIDs.', 256),
    keys: list(
      'Kinds of keys.',
      open('One kind.', {
        type: choice('Of the key.', ['RSA', 'EC', 'Ed25519']),
        minBits: { description: 'Of RSA.', type: 'integer', minimum: 2_048, maximum: 16_384 },
        curves: texts('Of EC: P-256, P-384, P-521; absent: any.', 3),
      }),
      { minItems: 1, maxItems: 256 },
    ),
    serials: texts('Serial numbers in hex.', 256),
    spkiPins: texts('SHA-256 of the SubjectPublicKeyInfo, in base64 or hex.', 256),
  },
);

const clientCertificates: Schema = open('Whether clients show certificates, and which are good.', {
  mode: choice('NONE asks for none; OPTIONAL lets in who shows none.', [
    'NONE',
    'OPTIONAL',
    'REQUIRED',
  ]),
  trust: open('Who vouches for clients.', {
    secret: secretName(
      'A kubernetes.io/tls Secret of this namespace: ca.crt, and ca.crl if there is one.',
    ),
    file: open('Files beside the sidecar.', {
      ca: text('Authorities, as PEM.', PATH),
      crl: text('Lists of what they revoked, as PEM.', PATH),
    }),
  }),
  crl: open('Lists of revoked certificates.', {
    required: flag('Nobody is let in without a list.'),
    maxAgeHours: {
      description: 'How old a list may be; absent: until its own nextUpdate.',
      type: 'integer',
      minimum: 1,
      maximum: 8_784,
    },
  }),
  constraints,
});

export const tlsTerminationSpec: Schema = open(
  'How ports of workloads take TLS of clients outside the mesh, beside that of the mesh. Where the mode is STRICT it does not hold.',
  {
    selector: selector('Pods of this namespace that it is for; absent: all of them.'),
    ports: list('Of the workload; absent: all that are declared.', port('One port.'), {
      minItems: 1,
      maxItems: 64,
    }),
    certificates,
    serverNames: texts('Names that are served, *.x among them; absent: every name.', 128),
    minVersion: choice('Of TLS; default 1.2.', ['1.2', '1.3']),
    maxVersion: choice('Of TLS; default 1.3.', ['1.2', '1.3']),
    cipherSuites: list(
      'Of TLS 1.2; absent: all of these.',
      { type: 'string', enum: CIPHER_SUITES },
      { minItems: 1, maxItems: CIPHER_SUITES.length },
    ),
    alpn: list(
      'Versions of HTTP that are offered, best first; absent: as the port’s protocol goes.',
      { type: 'string', enum: ['h2', 'http/1.1'] },
      { minItems: 1, maxItems: 2 },
    ),
    plaintext: open('What becomes of clients without TLS; default REFUSE.', {
      mode: choice('ALLOW serves them as without this.', ['ALLOW', 'REFUSE', 'REDIRECT']),
      status: {
        description: '301 or 308; default 301.',
        type: 'integer',
        minimum: 301,
        maximum: 308,
      },
      port: port('Of the URL that they are sent to; default 443.'),
    }),
    hsts: open(
      'Strict-Transport-Security (RFC 6797) in answers over TLS.',
      {
        maxAgeSeconds: {
          description: 'For how long clients keep to HTTPS.',
          type: 'integer',
          minimum: 0,
          maximum: 63_072_000,
        },
        includeSubDomains: flag('Also for names below this one.'),
        preload: flag('For lists that browsers come with.'),
      },
      { required: ['maxAgeSeconds'] },
    ),
    clientCertificates,
  },
  { required: ['certificates'] },
);
