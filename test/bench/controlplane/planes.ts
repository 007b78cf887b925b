// The two control planes of a run behind one face: where they serve, and how a policy or an endpoint is changed in each.
import type { Lab } from '../../support/lab.ts';
import type { GoServer } from '../peers/go-control-plane.ts';
import { type BenchMesh, type Endpoint, endpointMarker, policiesOf, policyMarker } from './mesh.ts';
import { encodeChange, type Recorded, replaceMarker } from './recorded.ts';

export type PlaneName = 'weft' | 'go-control-plane';

export interface Plane {
  readonly name: PlaneName;
  readonly pid: number;
  readonly xds: string;
  /** HTTP, where it has one: `/healthz` is asked while all come back at once. */
  readonly admin?: string;
  /** Everything that can be made beforehand is; what is returned makes the change. */
  readonly prepare: (change: Change) => () => Promise<void>;
}

/** What is to be in force: a version of the policy, or of an endpoint. */
export interface Change {
  readonly policy?: number;
  readonly endpoint?: Endpoint;
}

/** Its source is a folder of manifests, and a change a file that is written. */
export const weftPlane = (lab: Lab, mesh: BenchMesh): Plane => ({
  name: 'weft',
  pid: lab.controlPlane.pid,
  xds: lab.addresses.xds,
  admin: lab.addresses.admin,
  prepare: ({ policy, endpoint }) => {
    return async () => {
      if (policy !== undefined) {
        await lab.write('policies.yaml', ...policiesOf(policyMarker(policy)));
      }
      if (endpoint !== undefined) await mesh.writeEndpoint(lab, endpoint);
    };
  },
});

/** Its source are the resources that Weft would send after the same change, on its standard input. */
export function goPlane(server: GoServer, recorded: Recorded): Plane {
  let changes = 0;
  return {
    name: 'go-control-plane',
    pid: server.pid,
    xds: server.address,
    prepare: ({ policy, endpoint }) => {
      const resources = [
        ...(policy === undefined
          ? []
          : replaceMarker(recorded.resources, policyMarker(0), policyMarker(policy))),
        ...(endpoint === undefined
          ? []
          : replaceMarker(
              recorded.resources.filter(({ kind }) => kind === 'endpoints'),
              endpointMarker({ ...endpoint, version: 0 }),
              endpointMarker(endpoint),
            )),
      ];
      if (resources.length === 0) throw new RangeError('Cannot change anything: nothing holds it');
      const change = encodeChange(String(++changes), resources);
      return () => Promise.resolve(server.send(change));
    },
  };
}
