// An API server in memory: lists by pages, watches from a version, and fails as a test tells it to.
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  describeFailure,
  type KubeClient,
  type KubeFailure,
  type KubeObject,
  type KubeVerb,
  type WatchEnd,
  type WatchEvent,
} from '../kube-api.ts';
import { resourceName, type KubeResource } from '../resource.ts';

export interface ScriptedCall {
  readonly verb: KubeVerb;
  /** `pods`, `leases.coordination.k8s.io`. */
  readonly resource: string;
  readonly version: string;
  readonly namespace: string | undefined;
  /** Of a watch. */
  readonly from?: string;
  readonly continueToken?: string;
}

export interface ScriptedApi {
  readonly client: Pick<KubeClient, 'get' | 'list' | 'watch'>;
  readonly calls: ScriptedCall[];
  /** Makes or replaces; gives it the next resourceVersion, and a uid when it is new. */
  put(resource: KubeResource, object: KubeObject): KubeObject;
  remove(
    resource: KubeResource,
    target: { readonly namespace?: string; readonly name: string },
  ): void;
  /** The server has no such resource from now on, or has it again; with `versions`, in these alone. */
  unserve(resource: KubeResource): void;
  serve(resource: KubeResource): void;
  /** What the verb answers until it is told otherwise; `undefined` ends it. */
  fail(verb: KubeVerb, why: Refusal | undefined, resource?: KubeResource): void;
  /** Ends the open watches, and forgets what was before: who comes with an old version gets 410. */
  cut(end?: WatchEnd): void;
  compact(): void;
  /** To the open watches, as it is. */
  send(resource: KubeResource, event: WatchEvent): void;
  /** How many watches are open. */
  readonly watches: number;
}

export type Refusal = Pick<KubeFailure, 'kind' | 'code' | 'reason'> &
  Partial<Pick<KubeFailure, 'retryAfterMs'>>;

export const UNREACHABLE: Refusal = { kind: 'unreachable', code: 0, reason: 'Unreachable' };
export const FORBIDDEN: Refusal = { kind: 'status', code: 403, reason: 'Forbidden' };
export const NOT_FOUND: Refusal = { kind: 'status', code: 404, reason: 'NotFound' };
export const EXPIRED: Refusal = { kind: 'status', code: 410, reason: 'Expired' };

interface Stored {
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly object: KubeObject;
}

interface OpenWatch {
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly onEvent: (event: WatchEvent) => void;
  readonly end: (end: WatchEnd) => void;
}

const metadataOf = (object: KubeObject): KubeObject => (object['metadata'] ?? {}) as KubeObject;
const idOf = ({ group, version, plural }: KubeResource): string => `${group}/${version}/${plural}`;

export function createScriptedApi(): ScriptedApi {
  const objects = new Map<string, Stored>();
  const history: (Stored & { readonly version: number; readonly event: WatchEvent })[] = [];
  const watches = new Set<OpenWatch>();
  const refusals = new Map<string, Refusal>();
  const unserved = new Set<string>();
  const calls: ScriptedCall[] = [];
  let version = 100;
  let oldest = 0;

  const refusalOf = (
    verb: KubeVerb,
    resource: KubeResource,
    namespace: string | undefined,
  ): KubeFailure | undefined => {
    const missing = unserved.has(idOf(resource)) ? NOT_FOUND : undefined;
    const why = refusals.get(`${verb} ${idOf(resource)}`) ?? refusals.get(`${verb} `) ?? missing;
    if (why === undefined) return undefined;
    const said = { code: why.code, text: why.reason };
    return { ok: false, ...why, message: describeFailure({ verb, resource, namespace }, said) };
  };
  const emit = (stored: Stored, event: WatchEvent): void => {
    history.push({ ...stored, version, event });
    for (const watch of watches) {
      if (watch.resource !== stored.resource) continue;
      if (watch.namespace === undefined || watch.namespace === stored.namespace) {
        watch.onEvent(event);
      }
    }
  };

  const client: ScriptedApi['client'] = {
    async get(resource, { namespace = '', name }) {
      calls.push({
        verb: 'get',
        resource: resourceName(resource),
        version: resource.version,
        namespace,
      });
      await nextTurn();
      const refusal = refusalOf('get', resource, namespace);
      if (refusal !== undefined) return refusal;
      const stored = objects.get(`${idOf(resource)} ${namespace}/${name}`);
      if (stored !== undefined) return { ok: true, value: stored.object };
      const said = { code: 404, text: 'not found' };
      const message = describeFailure({ verb: 'get', resource, name }, said);
      return { ok: false, ...NOT_FOUND, message };
    },
    async list(resource, { namespace, limit = Number.MAX_SAFE_INTEGER, continueToken } = {}) {
      const token = continueToken === undefined ? {} : { continueToken };
      calls.push({
        verb: 'list',
        resource: resourceName(resource),
        version: resource.version,
        namespace,
        ...token,
      });
      await nextTurn();
      const refusal = refusalOf('list', resource, namespace);
      if (refusal !== undefined) return refusal;
      const [offset = 0, at = version] = continueToken?.split('@').map(Number) ?? [];
      if (at < oldest) {
        const message = describeFailure({ verb: 'list', resource }, { code: 410, text: 'too old' });
        return { ok: false, ...EXPIRED, message };
      }
      const all = [...objects.values()].filter(
        (stored) =>
          stored.resource === idOf(resource) &&
          (namespace === undefined || stored.namespace === namespace),
      );
      const items = all.slice(offset, offset + limit).map(({ object }) => object);
      const next = offset + limit < all.length ? `${offset + limit}@${at}` : undefined;
      return { ok: true, value: { items, resourceVersion: `${at}`, continueToken: next } };
    },
    async watch(resource, { namespace, resourceVersion: from, onOpen, onEvent, signal }) {
      calls.push({
        verb: 'watch',
        resource: resourceName(resource),
        version: resource.version,
        namespace,
        from,
      });
      await nextTurn();
      if (signal.aborted) return { ok: true };
      const refusal = refusalOf('watch', resource, namespace);
      if (refusal !== undefined) return refusal;
      const tooOld: KubeFailure = { ok: false, ...EXPIRED, message: 'too old resource version' };
      if (Number(from) < oldest) return tooOld;
      onOpen?.();
      const { promise, resolve } = Promise.withResolvers<WatchEnd>();
      const watch: OpenWatch = { resource: idOf(resource), namespace, onEvent, end: resolve };
      for (const past of history) {
        if (past.version <= Number(from) || past.resource !== watch.resource) continue;
        if (namespace === undefined || past.namespace === namespace) onEvent(past.event);
      }
      watches.add(watch);
      signal.addEventListener('abort', () => resolve({ ok: true }), { once: true });
      const end = await promise;
      watches.delete(watch);
      return end;
    },
  };
  return {
    client,
    calls,
    get watches() {
      return watches.size;
    },
    put(resource, object) {
      version += 1;
      const { namespace = '', name, ...rest } = metadataOf(object);
      const key = `${idOf(resource)} ${String(namespace)}/${String(name)}`;
      const old = objects.get(key);
      const uid = old === undefined ? `uid-${version}` : metadataOf(old.object)['uid'];
      const place = { ...(namespace !== '' && { namespace }), name };
      const metadata = { uid, ...place, ...rest, resourceVersion: `${version}` };
      const stored: Stored = {
        resource: idOf(resource),
        namespace: String(namespace),
        name: String(name),
        object: { ...object, metadata },
      };
      objects.set(key, stored);
      emit(stored, { kind: old === undefined ? 'added' : 'modified', object: stored.object });
      return stored.object;
    },
    remove(resource, { namespace = '', name }) {
      const key = `${idOf(resource)} ${namespace}/${name}`;
      const old = objects.get(key);
      if (old === undefined) throw new Error(`Cannot remove ${key}: there is none`);
      objects.delete(key);
      version += 1;
      const metadata = { ...metadataOf(old.object), resourceVersion: `${version}` };
      emit(old, { kind: 'deleted', object: { ...old.object, metadata } });
    },
    unserve: (resource) => void unserved.add(idOf(resource)),
    serve: (resource) => void unserved.delete(idOf(resource)),
    fail(verb, why, resource) {
      const key = `${verb} ${resource === undefined ? '' : idOf(resource)}`;
      if (why === undefined) refusals.delete(key);
      else refusals.set(key, why);
    },
    cut(end = { ok: true }) {
      for (const watch of watches) watch.end(end);
      watches.clear();
    },
    compact() {
      version += 1;
      oldest = version;
      history.length = 0;
    },
    send(resource, event) {
      for (const watch of watches) if (watch.resource === idOf(resource)) watch.onEvent(event);
    },
  };
}
