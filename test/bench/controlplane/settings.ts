// How many streams and services the control planes are measured with: by default a row of each, or the one that was asked for.
import type { Setting } from '../controlplane.ts';

/** As they were written on the command line. */
export interface SettingFlags {
  readonly proxies?: string | undefined;
  readonly services?: string | undefined;
  readonly variant?: string | undefined;
}

const VARIANTS = ['delta', 'sotw'] as const;
/** Services while the number of streams grows, and streams while the number of services grows. */
const MANY_SERVICES = 100;
const FEW_PROXIES = 100;
const FLEETS = [100, 1_000];
const LARGE_FLEET = 5_000;
const MESHES = [10, 1_000];
const LARGE_MESH = 10_000;
const MAX = 10_000;

export function settingsOf(options: SettingFlags & { readonly isLarge: boolean }): Setting[] {
  const { isLarge, ...flags } = options;
  if (Object.values(flags).some((flag) => flag !== undefined)) return [oneSetting(flags)];
  const fleets = isLarge ? [...FLEETS, LARGE_FLEET] : FLEETS;
  const meshes = isLarge ? [...MESHES, LARGE_MESH] : MESHES;
  return [
    ...fleets.flatMap((proxies) =>
      VARIANTS.map((variant) => ({ proxies, services: MANY_SERVICES, variant })),
    ),
    ...meshes.map((services) => ({ proxies: FEW_PROXIES, services, variant: 'delta' as const })),
  ];
}

/** @throws RangeError for what cannot be measured */
function oneSetting(flags: SettingFlags): Setting {
  const variant = VARIANTS.find((one) => one === (flags.variant ?? 'delta'));
  if (variant === undefined) throw new RangeError(`Cannot speak ${flags.variant}: delta or sotw`);
  return {
    proxies: countOf('proxies', flags.proxies ?? String(FEW_PROXIES)),
    services: countOf('services', flags.services ?? String(MANY_SERVICES)),
    variant,
  };
}

/** Two is the least: somebody must be called. */
function countOf(name: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 2 && count <= MAX) return count;
  throw new RangeError(`Cannot measure ${text} ${name}: 2 to ${MAX}`);
}
