// Finds ExternalServices whose certificate or roots are not there: no connection can be made for them, and their authors are told.
import type { ExternalService } from '@weft/model/egress/external-service';
import type { Mesh } from '@weft/model/mesh/mesh';
import type { Problem } from '@weft/model/problem';

interface Needed {
  readonly field: string;
  /** `Secret/shop/pay-client`. */
  readonly data: string;
  readonly keys: readonly string[];
}

/** One for each object that is missing or lacks a key. */
export function missingData({ egress, data }: Pick<Mesh, 'egress' | 'data'>): readonly Problem[] {
  const services = new Set<ExternalService>();
  for (const destinations of egress?.destinations.values() ?? []) {
    for (const { service } of destinations) services.add(service);
  }
  return [...services].flatMap((service) =>
    neededBy(service).flatMap(({ field, data: name, keys }): readonly Problem[] => {
      const values = data?.get(name)?.values;
      const missing = keys.filter((key) => values?.has(key) !== true);
      if (missing.length === 0) return [];
      const [kind, , object] = name.split('/');
      const why =
        values === undefined ? 'is not there, or may not be read' : `has no ${missing.join(', ')}`;
      return [
        {
          severity: 'error',
          code: 'missing-data',
          field,
          message: `the ${kind} ${object} ${why}: no connection is made`,
          object: { kind: 'ExternalService', namespace: service.namespace, name: service.name },
        },
      ];
    }),
  );
}

function neededBy({ namespace, tls }: ExternalService): readonly Needed[] {
  const { ca, client } = tls ?? {};
  const needed: Needed[] = [];
  if (ca?.kind === 'secret' || ca?.kind === 'configMap') {
    const kind = ca.kind === 'secret' ? 'Secret' : 'ConfigMap';
    needed.push({ field: 'spec.tls.ca', data: `${kind}/${namespace}/${ca.name}`, keys: [ca.key] });
  }
  if (client?.kind === 'secret') {
    const data = `Secret/${namespace}/${client.name}`;
    needed.push({ field: 'spec.tls.clientCertificate', data, keys: ['tls.crt', 'tls.key'] });
  }
  return needed;
}
