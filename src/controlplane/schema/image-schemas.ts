// What the API server takes for what WorkloadPolicies ask of images, and for whom they believe.
import { choice, list, open, type Schema, text, texts } from './schema.ts';

/** The parser's bounds (parse-images.ts). */
const MAX_VALUES = 256;

const demand = (description: string): Schema => ({ description, type: 'boolean' });

const images = (description: string): Schema =>
  texts(`${description} "registry.example.com/shop/web", "registry.example.com/*".`, MAX_VALUES, {
    minLength: 1,
  });

export const signatureRules = (description: string): Schema =>
  list(
    description,
    open(
      'One good signature by one of the keys or identities is enough.',
      {
        images: images('Images that must be signed.'),
        keys: texts('Public keys in PEM, as of cosign.pub.', 16, { minLength: 1 }),
        certificates: open(
          'Identities by certificates.',
          {
            roots: text('Certificates of the authority and of those that issue for it, in PEM.', {
              minLength: 1,
              maxLength: 65_536,
            }),
            identities: list(
              'Who may have signed.',
              open(
                'One identity.',
                {
                  subject: text('Alternative name of the certificate; "*" may end it.', {
                    minLength: 1,
                  }),
                  issuer: text('By whose word, as Fulcio writes it. Absent: nobody’s.'),
                },
                { required: ['subject'] },
              ),
              { minItems: 1, maxItems: 64 },
            ),
            transparencyLogs: texts(
              'Public keys of logs, in PEM; with any, a signature must have been entered there while its certificate was good. Absent: the certificate has to be good now.',
              16,
              { minLength: 1 },
            ),
          },
          { required: ['roots', 'identities'] },
        ),
      },
      { required: ['images'] },
    ),
    { maxItems: 32 },
  );

export const imagesSection = open(
  'What images are asked for: of containers of every kind, and of volumes.',
  {
    allow: images('Repositories that are approved. Absent: all.'),
    digests: choice(
      'required: every image is named by its digest. resolve: Pods that name none get the one that the tag stands for.',
      ['any', 'required', 'resolve'],
      { default: 'any' },
    ),
    signatures: signatureRules('Who must have signed which images; every rule that fits.'),
    whenUnavailable: choice('What holds while a registry cannot be asked.', ['refuse', 'allow'], {
      default: 'refuse',
    }),
    allowWeftImage: demand(
      'The image of Weft’s own containers needs nothing of this. Default false.',
    ),
  },
  { minProperties: 1 },
);
