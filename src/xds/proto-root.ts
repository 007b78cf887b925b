// Reads the types of `proto/` from disk; in a bundle the build puts their descriptor in this file's place.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

/** `proto/` lies beside `src/` in a checkout. */
export const PROTO_DIRECTORY = fileURLToPath(new URL('../../proto', import.meta.url));

/** Every type of `proto/`. @throws when a file cannot be read or parsed, or names a type that is not there. */
export const readProtoRoot = (): protobuf.Root => loadProtos(PROTO_DIRECTORY);

/** @throws when a file cannot be read or parsed, or names a type that is not there. */
export function loadProtos(directory: string): protobuf.Root {
  const root = new protobuf.Root();
  // The well-known types are built into protobufjs; everything else is named by its path under `proto/`.
  root.resolvePath = (_origin, target) =>
    target.startsWith('google/protobuf/') ? target : join(directory, target);
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.proto'))
    .map((file) => file.replaceAll('\\', '/'))
    .sort();
  root.loadSync(files, { keepCase: true });
  root.resolveAll();
  return root;
}
