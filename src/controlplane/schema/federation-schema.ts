// What the API server takes for a FederatedTrustDomain.
import {
  DEFAULT_KEEP_FOR_HOURS,
  MAX_KEEP_FOR_HOURS,
  PROFILES,
} from '@weft/model/federation/parse-federated-trust-domain';
import { choice, open, type Schema, text } from './schema.ts';

export const federatedTrustDomainSpec: Schema = open(
  'Another trust domain whose workloads are believed to be who its own keys say. In the root namespace alone.',
  {
    trustDomain: text('Its name: not our own, and none of our aliases.', {
      minLength: 1,
      maxLength: 255,
    }),
    bundleEndpoint: open(
      'Where its keys are published (SPIFFE bundle endpoint).',
      {
        url: text('https://..., without redirects.', { minLength: 1, maxLength: 2_048 }),
        profile: choice(
          'How the publisher proves who it is: by its name under the roots that everybody trusts, or by its SPIFFE id.',
          PROFILES,
        ),
        spiffeId: text('With https_spiffe: who publishes them, of that trust domain.', {
          maxLength: 2_048,
        }),
        bundle: {
          description:
            'With https_spiffe: its SPIFFE bundle document, as text or as a mapping, to begin with.',
          'x-kubernetes-preserve-unknown-fields': true,
        },
      },
      { required: ['url', 'profile'] },
    ),
    keepForHours: {
      description: `How long its keys are believed after they were last fetched. Default ${DEFAULT_KEEP_FOR_HOURS}.`,
      type: 'integer',
      minimum: 1,
      maximum: MAX_KEEP_FOR_HOURS,
    },
  },
  { required: ['trustDomain', 'bundleEndpoint'] },
);
