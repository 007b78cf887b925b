// Reads an EndpointSlice: which addresses answer for a Service, and in which state they are.
import type { SliceEndpoint } from '@weft/model/mesh/objects';
import { Reader, type PlainObject } from '@weft/model/policy/reader';
import {
  given,
  isTcp,
  items,
  mapping,
  outcome,
  readIp,
  readMeta,
  readPort,
  warning,
  type Reading,
} from './reading.ts';

const SERVICE_LABEL = 'kubernetes.io/service-name';
/** Kubernetes allows 100 addresses of an endpoint; all but the first are of no meaning. */
const MAX_ADDRESSES = 100;

export function readEndpointSlice(object: PlainObject): Reading {
  const reader = new Reader();
  const meta = readMeta(reader, object, 'namespaced');
  const service = meta.labels.get(SERVICE_LABEL);
  if (service === undefined || service === '') {
    const cure = `set the label ${SERVICE_LABEL}`;
    const message = 'belongs to no Service and is not used';
    return outcome(reader, undefined, [
      warning('slice-without-service', 'metadata.labels', message, cure),
    ]);
  }
  if (object['addressType'] === 'FQDN') {
    const message = 'has names for addresses, which the mesh does not route to';
    return outcome(reader, undefined, [warning('slice-of-names', 'addressType', message)]);
  }
  const ports = items(reader, object['ports'], 'ports').flatMap(([entry, field]) => {
    // A slice may leave the port open ("all ports"): no address can be made of that.
    if (!isTcp(entry) || given(entry['port']) === undefined) return [];
    const name = reader.string(given(entry['name']), `${field}.name`) ?? '';
    return [{ name, port: readPort(reader, entry['port'], `${field}.port`) }];
  });
  const endpoints = items(reader, object['endpoints'], 'endpoints').map(([entry, field]) =>
    readEndpoint(reader, entry, field),
  );
  return outcome(reader, { kind: 'EndpointSlice', meta, service, ports, endpoints });
}

function readEndpoint(reader: Reader, entry: PlainObject, field: string): SliceEndpoint {
  const listed = reader.list(given(entry['addresses']), `${field}.addresses`, MAX_ADDRESSES) ?? [];
  const addresses = listed.flatMap((value, index) => {
    const ip = readIp(reader, value, `${field}.addresses[${index}]`);
    return ip === undefined ? [] : [ip];
  });
  const conditions = mapping(reader, entry['conditions'], `${field}.conditions`);
  // Unknown counts as ready: discovery.k8s.io/v1 EndpointConditions.
  const isReady = conditions['ready'] !== false;
  const isServing = given(conditions['serving']) === undefined ? isReady : conditions['serving'];
  const target = mapping(reader, entry['targetRef'], `${field}.targetRef`);
  const pod = reader.string(given(target['name']), `${field}.targetRef.name`);
  return {
    addresses,
    isReady,
    isDraining: conditions['terminating'] === true && isServing === true,
    pod: target['kind'] === 'Pod' ? pod : undefined,
  };
}
