// Reads a Service: its addresses, its selector and its TCP ports.
import type { ServicePortSpec } from '@weft/model/mesh/objects';
import { Reader, type PlainObject } from '@weft/model/policy/reader';
import {
  describe,
  given,
  isPort,
  isTcp,
  items,
  mapping,
  outcome,
  readIp,
  readLabelMap,
  readMeta,
  readPort,
  warning,
  type Reading,
} from './reading.ts';

const HEADLESS = 'None';

export function readService(object: PlainObject): Reading {
  const reader = new Reader();
  const meta = readMeta(reader, object, 'namespaced');
  const spec = mapping(reader, object['spec'], 'spec');
  if (spec['type'] === 'ExternalName') {
    const message = 'names an address outside, which the mesh does not route to';
    return outcome(reader, undefined, [warning('external-name', 'spec.type', message)]);
  }
  const ports = readPorts(reader, spec);
  return outcome(reader, {
    kind: 'Service',
    meta,
    selector: readLabelMap(reader, spec['selector'], 'spec.selector'),
    clusterIps: readClusterIps(reader, spec),
    isHeadless: spec['clusterIP'] === HEADLESS,
    publishesNotReady: spec['publishNotReadyAddresses'] === true,
    ports,
  });
}

function readClusterIps(reader: Reader, spec: PlainObject): readonly string[] {
  const listed = reader.list(given(spec['clusterIPs']), 'spec.clusterIPs', 2) ?? [];
  const entries: (readonly [unknown, string])[] =
    listed.length > 0
      ? listed.map((value, index) => [value, `spec.clusterIPs[${index}]`])
      : [[spec['clusterIP'], 'spec.clusterIP']];
  return entries.flatMap(([value, field]) => {
    if (value === undefined || value === null || value === '' || value === HEADLESS) return [];
    const ip = readIp(reader, value, field);
    return ip === undefined ? [] : [ip];
  });
}

function readPorts(reader: Reader, spec: PlainObject): readonly ServicePortSpec[] {
  const seen = new Set<number>();
  return items(reader, spec['ports'], 'spec.ports').flatMap(([entry, field]) => {
    if (!isTcp(entry)) return [];
    const port = readPort(reader, entry['port'], `${field}.port`);
    if (port !== 0 && seen.has(port)) {
      reader.error(`${field}.port`, 'duplicate-port', `the port ${port} is there twice`);
    }
    seen.add(port);
    return [
      {
        name: reader.string(given(entry['name']), `${field}.name`) ?? '',
        port,
        targetPort: readTargetPort(reader, entry['targetPort'], `${field}.targetPort`, port),
        appProtocol: reader.string(given(entry['appProtocol']), `${field}.appProtocol`),
      },
    ];
  });
}

/** 0 and absence both mean the Service's own port, as in Kubernetes. */
function readTargetPort(
  reader: Reader,
  value: unknown,
  field: string,
  port: number,
): number | string {
  if (value === undefined || value === null || value === 0 || value === '') return port;
  if (isPort(value)) return value;
  if (typeof value === 'string' && Number.isNaN(Number(value))) return value;
  const cure = "write a number, or the name of a container's port";
  reader.error(field, 'bad-port', `${describe(value)} is no port`, cure);
  return port;
}
