// Writes one line for each identity that was given or refused; never a token, never a key.
import type { Logger } from 'pino';

export type AuditEntry =
  | {
      readonly ok: true;
      readonly spiffeId: string;
      readonly serial: string;
      readonly notAfter: Date;
      readonly attestor: string;
      readonly peer: string;
    }
  | {
      readonly ok: false;
      readonly reasonCode: string;
      readonly reason: string;
      readonly namespace?: string;
      readonly serviceAccount?: string;
      readonly attestor: string;
      readonly peer: string;
    };

export function writeAudit(log: Logger | undefined, entry: AuditEntry): void {
  const { ok, ...fields } = entry;
  if (ok) log?.info(fields, 'identity issued');
  else log?.warn(fields, 'identity refused');
}
