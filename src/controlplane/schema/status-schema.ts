// The status of Weft's objects: conditions as Kubernetes' API conventions want them, and what `kubectl get` shows.
import { choice, closed, list, type Schema, text } from './schema.ts';

/** Source: `metav1.Condition`. */
const condition = closed(
  'What is true of the object now.',
  {
    type: text('What it is about.', { minLength: 1, maxLength: 316 }),
    status: choice('Whether it is so.', ['True', 'False', 'Unknown']),
    observedGeneration: {
      description: 'The generation of the object that it is about.',
      type: 'integer',
      format: 'int64',
      minimum: 0,
    },
    lastTransitionTime: {
      description: 'When the status became what it is.',
      type: 'string',
      format: 'date-time',
    },
    reason: text('Why, in one word.', { minLength: 1, maxLength: 1_024 }),
    message: text('Why, for people.', { maxLength: 32_768 }),
  },
  { required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'] },
);

const conditions = list('What is true of the object now.', condition, {
  maxItems: 16,
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['type'],
});

export const statusOf = (fields: Readonly<Record<string, Schema>>): Schema =>
  closed('What Weft has made of it. Written by the control plane alone.', {
    observedGeneration: {
      description: 'The generation of the object that this is about.',
      type: 'integer',
      format: 'int64',
    },
    conditions,
    ...fields,
  });

export const policyStatus: Readonly<Record<string, Schema>> = {
  action: text('What it does, as it is read.'),
  selected: {
    description: 'How many workloads it is for.',
    type: 'integer',
    format: 'int64',
  },
  enforced: text('How many of them enforce it as it is now: "2/3".'),
};
