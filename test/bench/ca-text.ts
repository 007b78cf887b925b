// Writes what was measured of the CA as a table for a terminal.
import type { CaFigures, CaResult } from './ca.ts';
import { ratioText, type Row, spread, table } from './report.ts';
import { ratioOf } from './statistics.ts';

export function caText(result: CaResult): string {
  const { limit, massStart } = result;
  const rowOf = (figures: CaFigures): Row => [
    figures.name,
    spread(figures.cpuUs),
    spread(figures.perCpuSecond),
    ratioText(ratioOf(figures.perCpuSecond, figures.limitPerSecond)),
    spread(figures.perSecond),
    spread(figures.p50Ms),
    spread(figures.p99Ms),
  ];
  const head = [
    '',
    'CPU µs each',
    'for a CPU second',
    'of the limit',
    'per second',
    'p50 ms',
    'p99 ms',
  ];
  return [
    'CA: certificates given by the services of enrolment and renewal; CPU of the server alone',
    `openssl speed, one core: ${spread(limit.signsPerSecond)} signatures a second, ${spread(limit.verifiesPerSecond)} verified; the limit is one of each for a certificate`,
    'Each enrolment has a connection of its own, with its handshake; a mass start has join tokens and renewal streams as well',
    'Without a CA: a server that gives every request the same answer, so that gRPC and TLS are all that costs',
    `Verified: ${result.checks.join('; ')}`,
    `Median of ${result.rounds} rounds (lowest–highest)`,
    '',
    table(head, [...result.figures, massStart.figures].map(rowOf)),
    `Control plane with ${massStart.sidecars} renewal streams: ${spread(massStart.privateMb)} MB private`,
    '',
  ].join('\n');
}
