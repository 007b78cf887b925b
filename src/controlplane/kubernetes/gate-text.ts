// Writes what holds a rotation up as the text of an annotation, and reads what another replica wrote.
import type { PhaseGate, RotationPhase } from '@weft/ca/rotation';
import { parseJsonObject } from '@weft/model/parse-json-object';

/** The few names that a gate gives, each of a kilobyte at most. */
const MAX_LINES = 16;
const MAX_LINE = 1_024;
const MAX_TEXT = 65_536;

const PHASES: ReadonlyMap<unknown, RotationPhase> = new Map(
  (['stable', 'distribute', 'sign', 'retire'] as const).map((phase) => [phase, phase]),
);

export const gateText = ({ phase, bundleVersion, issuerKeyId, waitsFor }: PhaseGate): string =>
  JSON.stringify({
    phase,
    bundleVersion,
    issuerKeyId,
    waitsFor: waitsFor.slice(0, MAX_LINES).map((line) => line.slice(0, MAX_LINE)),
  });

/** @returns `undefined` for what no replica writes. */
export function readGateText(text: string | undefined): PhaseGate | undefined {
  if (text === undefined || text.length > MAX_TEXT) return undefined;
  const read = parseJsonObject(text);
  const phase = PHASES.get(read?.['phase']);
  const bundleVersion = read?.['bundleVersion'];
  const issuerKeyId = read?.['issuerKeyId'];
  const lines = read?.['waitsFor'];
  if (phase === undefined || typeof bundleVersion !== 'string') return undefined;
  if (typeof issuerKeyId !== 'string' || !Array.isArray(lines)) return undefined;
  const waitsFor = lines.filter((line) => typeof line === 'string');
  if (waitsFor.length !== lines.length) return undefined;
  return { phase, bundleVersion, issuerKeyId, waitsFor: waitsFor.slice(0, MAX_LINES) };
}
