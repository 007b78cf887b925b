// Stands for `src/xds/proto-root.ts` in a process of the release before: the types of its wire files, and no others.
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { loadProtos, readProtoRoot as readTodaysRoot } from '../../src/xds/proto-root.ts';

export { loadProtos };

/** `proto/` as it stood before credentials, egress, traffic, TLS termination and the Workload API. */
export const PROTO_DIRECTORY = fileURLToPath(new URL('previous', import.meta.url));

/** Services whose code is there today and asks for their definitions; that no server has them is `previous-wire.ts`'s part. */
const OWN_SERVICES = ['weft.enrolment.v1', 'weft.credentials.v1'] as const;

export function readProtoRoot(): protobuf.Root {
  const root = loadProtos(PROTO_DIRECTORY);
  const today = readTodaysRoot();
  for (const name of OWN_SERVICES) {
    addMissing(root.define(name), today.lookup(name));
  }
  root.resolveAll();
  return root;
}

/** Types, services and methods that are not there; types that are, stay as they are. */
function addMissing(to: protobuf.NamespaceBase, from: protobuf.ReflectionObject | null): void {
  if (!(from instanceof protobuf.Namespace)) return;
  for (const one of from.nestedArray) {
    const held = to.get(one.name);
    if (held === null) to.addJSON({ [one.name]: one.toJSON() });
    else if (held instanceof protobuf.Service && one instanceof protobuf.Service) {
      for (const method of one.methodsArray) {
        if (held.methods[method.name] === undefined)
          held.add(protobuf.Method.fromJSON(method.name, method.toJSON()));
      }
    }
  }
}

/** Every path that a server of the release before had. */
export function previousPaths(): ReadonlySet<string> {
  const paths = new Set<string>();
  const walk = (namespace: protobuf.NamespaceBase): void => {
    for (const one of namespace.nestedArray) {
      if (one instanceof protobuf.Service)
        for (const { name } of one.methodsArray) paths.add(`/${one.fullName.slice(1)}/${name}`);
      else if (one instanceof protobuf.Namespace) walk(one);
    }
  };
  walk(loadProtos(PROTO_DIRECTORY));
  return paths;
}
