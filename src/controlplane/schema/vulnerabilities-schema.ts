// What the API server takes for spec.vulnerabilities of WorkloadPolicies.
import { SEVERITIES } from '@weft/model/admission/vulnerability-types';
import { signatureRules } from './image-schemas.ts';
import { choice, list, open, text } from './schema.ts';

/** The parser's bounds (parse-vulnerabilities.ts). */
const MAX_IGNORED = 1_024;
const MAX_ID = 128;
const MAX_REASON = 1_024;
const MAX_COUNT = 1_000_000;

const flag = (description: string) => ({ description, type: 'boolean' }) as const;

export const vulnerabilitiesSection = open(
  'What reports of vulnerabilities may say of the images of containers and of volumes.',
  {
    maxSeverity: choice('The worst severity that may be there.', SEVERITIES),
    threshold: open(
      'How many of a severity may be there. What is worse than the least that is named: none.',
      Object.fromEntries(
        SEVERITIES.map((severity) => [
          severity,
          { type: 'integer', minimum: 0, maximum: MAX_COUNT } as const,
        ]),
      ),
      { minProperties: 1 },
    ),
    fixableOnly: flag('Those alone count of which a fixed version is known. Default false.'),
    olderThan: text('Those count that have been known for so long: 30d, 720h. Default: all.', {
      minLength: 2,
    }),
    ignore: list(
      'Vulnerabilities that do not count, why, and until when.',
      open(
        'One of them.',
        {
          id: text('Its whole id, as CVE-2026-12345.', { minLength: 1, maxLength: MAX_ID }),
          reason: text('Why, and who decided it.', { minLength: 1, maxLength: MAX_REASON }),
          expires: text('When it ends: 2027-01-31, or a time with its zone.', { minLength: 10 }),
        },
        { required: ['id', 'reason', 'expires'] },
      ),
      { maxItems: MAX_IGNORED },
    ),
    maxReportAge: text('A good report that is older is none: 7d. Default: however old it is.', {
      minLength: 2,
    }),
    attestations: signatureRules(
      'Whose signed attestations of scans are believed, beside reports that stand in the cluster.',
    ),
    whenUnknown: choice(
      'What holds when something is made of an image of which no report is known.',
      ['allow', 'refuse'],
      { default: 'allow' },
    ),
    onCrossing: open('What is done with a Pod that runs, in mode enforce.', {
      revokeIdentity: flag('It loses its identity in the mesh. Default false.'),
    }),
  },
  { minProperties: 1 },
);
