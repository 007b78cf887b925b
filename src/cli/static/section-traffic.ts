// The section for what a TrafficPolicy says: how many requests are let through, of what kind, from whom.
import { isSpec } from './section-policies.ts';
import { manifestOf, NO_PARTS, type Section } from './section.ts';

const KEY = 'traffic';
const KIND = { apiVersion: 'mesh.weft.dev/v1', kind: 'TrafficPolicy', name: 'traffic-0' };

export const TRAFFIC: Section = {
  key: KEY,
  async read(spec, context) {
    if (!isSpec(spec, KEY, context)) return NO_PARTS;
    return { objects: [{ manifest: manifestOf(KIND, context.namespace, { spec }), at: KEY }] };
  },
};
