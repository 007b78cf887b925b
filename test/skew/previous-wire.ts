// Loaded with `--import` before a `weft` process: it speaks with the wire files of the release before, and is today's otherwise.
import { registerHooks } from 'node:module';
import { Server, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { previousPaths } from './previous-proto-root.ts';

const TODAYS = new URL('../../src/xds/proto-root.ts', import.meta.url).href;
const PREVIOUS = new URL('previous-proto-root.ts', import.meta.url).href;

registerHooks({
  resolve: (specifier, context, next) => {
    const found = next(specifier, context);
    return found.url === TODAYS && context.parentURL !== PREVIOUS
      ? { ...found, url: PREVIOUS }
      : found;
  },
});

// What is asked of a service that came later is answered by gRPC itself: UNIMPLEMENTED.
const paths = previousPaths();
const served: unknown = Object.getOwnPropertyDescriptor(Server.prototype, 'addService')?.value;
if (typeof served !== 'function') throw new TypeError('Cannot limit servers: no addService');
Server.prototype.addService = function (
  this: Server,
  definition: ServiceDefinition,
  implementation: UntypedServiceImplementation,
) {
  const known = Object.entries(definition).filter(([, { path }]) => paths.has(path));
  if (known.length > 0) Reflect.apply(served, this, [Object.fromEntries(known), implementation]);
};
