// Says what of older wire files newer ones take back or give another meaning: what the other side of a version skew would misread.
import protobuf from 'protobufjs';

/** One line each; empty when whoever has the older files and whoever has the newer ones understand each other. */
export function incompatibilities(older: protobuf.Root, newer: protobuf.Root): readonly string[] {
  const found: string[] = [];
  for (const old of definitionsOf(older)) {
    const now = newer.lookup(old.fullName.slice(1));
    if (old instanceof protobuf.Type) compareTypes(old, now, found);
    else if (old instanceof protobuf.Enum) compareEnums(old, now, found);
    else if (old instanceof protobuf.Service) compareServices(old, now, found);
  }
  return found;
}

function* definitionsOf(namespace: protobuf.NamespaceBase): Generator<protobuf.ReflectionObject> {
  for (const definition of namespace.nestedArray) {
    // The well-known types come with protobufjs.
    if (definition.fullName === '.google.protobuf') continue;
    yield definition;
    if (definition instanceof protobuf.Namespace) yield* definitionsOf(definition);
  }
}

/** What the bytes of a field are, and what it means that it is there. Its name is not on the wire. */
function wireFactsOf(field: protobuf.Field): string {
  field.resolve();
  const key = field instanceof protobuf.MapField ? `map<${field.keyType}> of ` : '';
  const label = field.repeated ? 'repeated ' : '';
  const isNumber = Object.hasOwn(protobuf.types.packed, field.type);
  const packed = field.repeated && isNumber && field.packed ? 'packed ' : '';
  const oneof = field.partOf === null ? '' : ` in oneof ${field.partOf.name}`;
  return `${key}${label}${packed}${field.resolvedType?.fullName ?? field.type}${oneof}`;
}

type Now = protobuf.ReflectionObject | null;

/** Ranges as they are written, their ends included. */
const isReserved = ({ reserved }: protobuf.Type | protobuf.Enum, number: number): boolean =>
  (reserved ?? []).some(
    (one) => typeof one !== 'string' && (one[0] ?? 0) <= number && number <= (one[1] ?? 0),
  );

function compareTypes(old: protobuf.Type, now: Now, found: string[]): void {
  if (!(now instanceof protobuf.Type)) {
    found.push(`${old.fullName}: is gone`);
    return;
  }
  for (const field of old.fieldsArray) {
    const name = `${old.fullName}.${field.name}`;
    const same = now.fieldsById[field.id];
    if (same === undefined) {
      if (!isReserved(now, field.id)) found.push(`${name}: number ${field.id} is not reserved`);
    } else if (wireFactsOf(field) !== wireFactsOf(same)) {
      found.push(`${name}: was ${wireFactsOf(field)}, is ${wireFactsOf(same)}`);
    }
  }
}

function compareEnums(old: protobuf.Enum, now: Now, found: string[]): void {
  if (!(now instanceof protobuf.Enum)) {
    found.push(`${old.fullName}: is gone`);
    return;
  }
  for (const [name, number] of Object.entries(old.values)) {
    const other = now.valuesById[number];
    if (other !== name && !(other === undefined && isReserved(now, number)))
      found.push(`${old.fullName}.${name}: ${number} is ${other ?? 'gone, and not reserved'}`);
  }
}

function compareServices(old: protobuf.Service, now: Now, found: string[]): void {
  for (const method of old.methodsArray) {
    const name = `${old.fullName}.${method.name}`;
    const other = now instanceof protobuf.Service ? now.methods[method.name] : undefined;
    if (other === undefined) found.push(`${name}: is gone`);
    else if (methodFacts(method) !== methodFacts(other))
      found.push(`${name}: was ${methodFacts(method)}, is ${methodFacts(other)}`);
  }
}

function methodFacts(method: protobuf.Method): string {
  method.resolve();
  const request = `${method.requestStream ? 'stream ' : ''}${method.resolvedRequestType?.fullName}`;
  const response = `${method.responseStream ? 'stream ' : ''}${method.resolvedResponseType?.fullName}`;
  return `(${request}) returns (${response})`;
}
