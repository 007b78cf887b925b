// Every section that a sidecar's own file may have, besides what says where it listens.
import type { Section } from './section.ts';
import { BASIC_AUTHENTICATION } from './section-basic-authentication.ts';
import { CREDENTIALS } from './section-credentials.ts';
import { OUTBOUND } from './section-outbound.ts';
import { TLS } from './section-tls.ts';
import { TRAFFIC } from './section-traffic.ts';
import { AUTHORIZATION, REQUEST_AUTHENTICATION, SETTINGS } from './section-policies.ts';

/** Their order is that of their objects; nothing else depends on it. */
export const SECTIONS: readonly Section[] = [
  SETTINGS,
  AUTHORIZATION,
  REQUEST_AUTHENTICATION,
  BASIC_AUTHENTICATION,
  TLS,
  TRAFFIC,
  OUTBOUND,
  CREDENTIALS,
];
