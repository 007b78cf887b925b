// A small API server in memory for tests: optimistic locking, watches, and failures where a test wants them.
import {
  describeFailure,
  type KubeClient,
  type KubeFailure,
  type KubeObject,
  type KubeResult,
  type KubeVerb,
  type WatchEvent,
  type WatchOptions,
} from '../kube-api.ts';
import { objectAt, textAt } from '../object-fields.ts';
import { type KubeResource, resourceName } from '../resource.ts';

export interface MemoryCall {
  readonly verb: KubeVerb;
  readonly resource: KubeResource;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly object: KubeObject | undefined;
}

export interface MemoryKube extends KubeClient {
  /** Every call so far, the newest last. */
  readonly calls: readonly MemoryCall[];
  /** What is answered before anything is done; `undefined` lets the call through. Replaced by the next. */
  answerWith(
    script: (call: MemoryCall) => KubeResult<KubeObject> | undefined | Promise<never>,
  ): void;
  /** The object as it is kept. */
  peek(resource: KubeResource, name: string, namespace?: string): KubeObject | undefined;
  /** As another client would: no lock, no failure. */
  put(resource: KubeResource, object: KubeObject): void;
  remove(resource: KubeResource, name: string, namespace?: string): void;
  /** Ends every watch that is open, with this failure. */
  breakWatches(failure: KubeFailure): void;
}

/** What the API server says with this code and reason. */
export const kubeFailure = (code: number, reason: string, message = reason): KubeFailure => ({
  ok: false,
  kind: code === 0 ? 'unreachable' : 'status',
  code,
  reason,
  message,
});

interface OpenWatch {
  readonly resource: string;
  readonly options: WatchOptions;
  readonly end: (failure: KubeFailure) => void;
}

const keyOf = (resource: KubeResource, namespace: string | undefined, name: string): string =>
  `${resourceName(resource)}/${namespace ?? ''}/${name}`;

/** RFC 7386. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const isMap = typeof target === 'object' && target !== null && !Array.isArray(target);
  const result: Record<string, unknown> = isMap ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

const asObject = (value: unknown): KubeObject =>
  typeof value === 'object' && value !== null ? { ...value } : {};

class Memory {
  readonly calls: MemoryCall[] = [];
  readonly objects = new Map<string, KubeObject>();
  readonly watches = new Set<OpenWatch>();
  /** What happened to one resource, by version, for watches that begin in the past. */
  readonly history: { version: number; resource: string; event: WatchEvent }[] = [];
  version = 1;
  script: Parameters<MemoryKube['answerWith']>[0] = () => undefined;

  async enter(call: Partial<MemoryCall> & Pick<MemoryCall, 'verb' | 'resource'>) {
    const made: MemoryCall = {
      namespace: undefined,
      name: undefined,
      subresource: undefined,
      object: undefined,
      ...call,
    };
    this.calls.push(made);
    const answer = await this.script(made);
    return { call: made, answer };
  }

  failed(call: MemoryCall, code: number, reason: string): KubeFailure {
    return kubeFailure(code, reason, describeFailure(call, { code, text: reason }));
  }

  store(
    resource: KubeResource,
    object: KubeObject,
    kind: 'added' | 'modified' | 'deleted',
  ): KubeObject {
    const name = textAt(object, 'metadata', 'name') ?? '';
    const key = keyOf(resource, textAt(object, 'metadata', 'namespace'), name);
    this.version++;
    const uid = textAt(this.objects.get(key), 'metadata', 'uid') ?? `uid-${this.version}`;
    const metadata = { uid, ...objectAt(object, 'metadata') };
    const kept = { ...object, metadata: { ...metadata, resourceVersion: `${this.version}` } };
    if (kind === 'deleted') this.objects.delete(key);
    else this.objects.set(key, kept);
    const event: WatchEvent = { kind, object: kept };
    this.history.push({ version: this.version, resource: resourceName(resource), event });
    for (const open of this.watches) this.show(open, resourceName(resource), event);
    return kept;
  }

  show({ resource, options }: OpenWatch, changed: string, event: WatchEvent): void {
    if (resource !== changed || event.kind === 'bookmark') return;
    const namespace = textAt(event.object, 'metadata', 'namespace');
    if (options.namespace !== undefined && options.namespace !== namespace) return;
    const name = textAt(event.object, 'metadata', 'name');
    const { fieldSelector } = options;
    if (fieldSelector !== undefined && fieldSelector !== `metadata.name=${name}`) return;
    options.onEvent(event);
  }

  watch(resource: KubeResource, options: WatchOptions): ReturnType<KubeClient['watch']> {
    return new Promise((resolve) => {
      const open: OpenWatch = {
        resource: resourceName(resource),
        options,
        end: (failure) => {
          this.watches.delete(open);
          resolve(failure);
        },
      };
      this.watches.add(open);
      options.onOpen?.();
      options.signal.addEventListener('abort', () => {
        this.watches.delete(open);
        resolve({ ok: true });
      });
      for (const past of this.history) {
        if (past.version > Number(options.resourceVersion)) {
          this.show(open, past.resource, past.event);
        }
      }
    });
  }
}

const placeOf = (object: KubeObject) => ({
  namespace: textAt(object, 'metadata', 'namespace'),
  name: textAt(object, 'metadata', 'name'),
});

function isLate(written: KubeObject, found: KubeObject): boolean {
  const wanted = textAt(written, 'metadata', 'resourceVersion');
  return wanted !== undefined && wanted !== textAt(found, 'metadata', 'resourceVersion');
}

/** Writes as the API server does; a subresource changes the object itself. */
function writes(memory: Memory): Pick<KubeClient, 'create' | 'replace' | 'apply' | 'patch'> {
  const change = async (
    call: Parameters<Memory['enter']>[0],
    make: (found: KubeObject | undefined, call: MemoryCall) => KubeResult<KubeObject>,
  ): Promise<KubeResult<KubeObject>> => {
    const entered = await memory.enter(call);
    if (entered.answer !== undefined) return entered.answer;
    const { resource, namespace, name = '' } = entered.call;
    const found = memory.objects.get(keyOf(resource, namespace, name));
    const made = make(found, entered.call);
    if (!made.ok) return made;
    const kind = found === undefined ? 'added' : 'modified';
    return { ok: true, value: memory.store(resource, made.value, kind) };
  };
  return {
    create: (resource, object, { subresource } = {}) =>
      change(
        { verb: 'create', resource, ...placeOf(object), subresource, object },
        (found, call) =>
          found === undefined
            ? { ok: true, value: object }
            : memory.failed(call, 409, 'AlreadyExists'),
      ),
    replace: (resource, object, { subresource } = {}) =>
      change(
        { verb: 'update', resource, ...placeOf(object), subresource, object },
        (found, call) => {
          if (found === undefined) return memory.failed(call, 404, 'NotFound');
          if (isLate(object, found)) return memory.failed(call, 409, 'Conflict');
          return { ok: true, value: object };
        },
      ),
    apply: (resource, object, { subresource }) =>
      change({ verb: 'patch', resource, ...placeOf(object), subresource, object }, (found) => ({
        ok: true,
        value: asObject(merged(found, object)),
      })),
    patch: (resource, target, { patch, subresource }) =>
      change(
        { verb: 'patch', resource, ...target, subresource, object: asObject(patch) },
        (found, call) => {
          if (found === undefined) return memory.failed(call, 404, 'NotFound');
          if (isLate(asObject(patch), found)) return memory.failed(call, 409, 'Conflict');
          return { ok: true, value: asObject(merged(found, patch)) };
        },
      ),
  };
}

function reads(memory: Memory): Pick<KubeClient, 'get' | 'list' | 'watch' | 'delete' | 'read'> {
  return {
    async get(resource, target) {
      const { call, answer } = await memory.enter({ verb: 'get', resource, ...target });
      if (answer !== undefined) return answer;
      const found = memory.objects.get(keyOf(resource, target.namespace, target.name));
      if (found === undefined) return memory.failed(call, 404, 'NotFound');
      return { ok: true, value: found };
    },
    async list(resource, { namespace, fieldSelector } = {}) {
      const { answer } = await memory.enter({ verb: 'list', resource, namespace });
      if (answer?.ok === false) return answer;
      const prefix = `${resourceName(resource)}/${namespace ?? ''}`;
      const items = [...memory.objects]
        .filter(([key]) => key.startsWith(namespace === undefined ? prefix : `${prefix}/`))
        .map(([, object]) => object)
        .filter(
          (object) =>
            fieldSelector === undefined ||
            fieldSelector === `metadata.name=${textAt(object, 'metadata', 'name')}`,
        );
      const resourceVersion = `${memory.version}`;
      return { ok: true, value: { items, resourceVersion, continueToken: undefined } };
    },
    async watch(resource, options) {
      const { namespace } = options;
      const { answer } = await memory.enter({ verb: 'watch', resource, namespace });
      return answer?.ok === false ? answer : memory.watch(resource, options);
    },
    async delete(resource, target) {
      const { call, answer } = await memory.enter({ verb: 'delete', resource, ...target });
      if (answer !== undefined) return answer;
      const found = memory.objects.get(keyOf(resource, target.namespace, target.name));
      if (found === undefined) return memory.failed(call, 404, 'NotFound');
      return { ok: true, value: memory.store(resource, found, 'deleted') };
    },
    read: async (path) => kubeFailure(404, 'NotFound', `Cannot read ${path}: NotFound`),
  };
}

export function createMemoryKube(): MemoryKube {
  const memory = new Memory();
  return {
    server: 'https://memory.test',
    calls: memory.calls,
    ...writes(memory),
    ...reads(memory),
    answerWith(script) {
      memory.script = script;
    },
    peek: (resource, name, namespace) => memory.objects.get(keyOf(resource, namespace, name)),
    put(resource, object) {
      const { namespace, name = '' } = placeOf(object);
      const isNew = !memory.objects.has(keyOf(resource, namespace, name));
      memory.store(resource, object, isNew ? 'added' : 'modified');
    },
    remove(resource, name, namespace) {
      const found = memory.objects.get(keyOf(resource, namespace, name));
      if (found !== undefined) memory.store(resource, found, 'deleted');
    },
    breakWatches(failure) {
      for (const open of memory.watches) open.end(failure);
    },
    [Symbol.dispose]: () => {},
  };
}
