// What a TrafficPolicy is for: Services by name, or Pods by their labels.
import { type CelRule, list, open, type Schema, text } from './schema.ts';

const MAX_TARGETS = 16;

export const trafficTargets: Schema = list(
  'Services of this namespace that it is for.',
  open(
    'One Service.',
    {
      group: text('Empty: the core group.', { maxLength: 253 }),
      kind: text('Service.', { maxLength: 63 }),
      name: text('Its name.', { minLength: 1, maxLength: 63 }),
    },
    { required: ['kind', 'name'] },
  ),
  { minItems: 1, maxItems: MAX_TARGETS },
);

export const TRAFFIC_SCOPE: CelRule = {
  rule: '!(has(self.selector) && has(self.targetRefs))',
  message: 'only one of selector and targetRefs can be set',
};
