// Holds every scenario of the data plane, protocol by protocol, in the order of the report.
import type { Scenario } from './scenario.ts';
import { HTTP1_SCENARIOS } from './scenarios-http1.ts';

export const SCENARIOS: readonly Scenario[] = [...HTTP1_SCENARIOS];
