// The methods of a discovery service by path, for a local server: one of state of the world, one of differences.
import { serviceDefinition } from '@weft/xds/registry';
import type { ServerHttp2Stream } from 'node:http2';
import type { Variant } from './envelopes.ts';
import type { LocalMethod } from './local-server.ts';

/** @throws TypeError for a name that the service has not. */
export function discoveryMethods(
  service: string,
  names: Readonly<Record<Variant, string>>,
  take: (
    stream: ServerHttp2Stream,
    call: { readonly path: string; readonly variant: Variant; readonly caller: string },
  ) => void,
): ReadonlyMap<string, LocalMethod> {
  const definition = serviceDefinition(service);
  return new Map(
    (['sotw', 'delta'] as const).map((variant): [string, LocalMethod] => {
      const name = names[variant];
      const path = definition[name]?.path;
      if (path === undefined) throw new TypeError(`Cannot find ${name} of ${service}`);
      return [path, (stream, caller) => take(stream, { path, variant, caller })];
    }),
  );
}
