// Reads a sidecar's own file: schema, sections and compiling, every problem with its line; nothing is in force before all of it is sound.
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { compileMesh } from '@weft/controlplane/compile/compile-mesh';
import { classify } from '@weft/controlplane/registry/kinds';
import { readYamlDocument, type YamlDocument } from '@weft/controlplane/registry/yaml-document';
import type { OutboundPort } from '@weft/dataplane/options';
import { errorText } from '@weft/model/error-text';
import type { RegistryObject } from '@weft/model/mesh/objects';
import { isPlainObject, Reader, shown, type PlainObject } from '@weft/model/policy/reader';
import type { Problem } from '@weft/model/problem';
import { PORT_KEYS, readPorts, type StaticPorts } from './read-ports.ts';
import type { StaticCredentialsConfig } from './read-credentials.ts';
import type { SectionObject } from './section.ts';
import { SECTIONS } from './sections.ts';
import { staticIdentity, WORKLOAD, workloadObjects } from './workload-objects.ts';

export const STATIC_API_VERSION = 'sidecar.weft.dev/v1';
/** 1 MiB: as much as is read of one object anywhere. */
const MAX_FILE_BYTES = 1024 * 1024;

export interface StaticConfig {
  readonly ports: StaticPorts;
  readonly outbound: readonly OutboundPort[];
  readonly credentials: StaticCredentialsConfig | undefined;
  /** The whole mesh, by a key for each. */
  readonly objects: ReadonlyMap<string, RegistryObject>;
}

export interface StaticReading {
  /** Absent: something is wrong, and nothing of it can be in force. */
  readonly config: StaticConfig | undefined;
  /** With file and line; warnings too. */
  readonly problems: readonly Problem[];
  /** The file itself and those that it names: what is to be watched. */
  readonly files: readonly string[];
  /** Of all that was read; equal ones say the same. */
  readonly digest: string;
}

/** Never throws for anything that a file holds, or for its absence. */
export async function readStaticConfig(path: string): Promise<StaticReading> {
  const reading = new Reading(path);
  const config = await reading.read();
  const { problems, files, digest } = reading;
  return { config, problems, files: [...files], digest: digest.digest('base64') };
}

class Reading {
  readonly #path: string;
  readonly files: Set<string>;
  readonly problems: Problem[] = [];
  readonly digest = createHash('sha256');
  #document: YamlDocument | undefined;

  constructor(path: string) {
    this.#path = path;
    this.files = new Set([resolve(path)]);
  }

  async read(): Promise<StaticConfig | undefined> {
    const bytes = await this.#bytesOf(resolve(this.#path), undefined);
    if (bytes === undefined) return undefined;
    const document = readYamlDocument(bytes.toString('utf8'));
    this.#document = document;
    for (const { line, column, code, message, cure } of document.findings) {
      const source = { file: this.#path, line, column };
      const problem = { severity: 'error', code, message, source } as const;
      this.problems.push(cure === undefined ? problem : { ...problem, cure });
    }
    if (document.findings.length > 0) return undefined;
    const reader = new Reader();
    const file = readEnvelope(reader, document.value);
    const ports = file && readPorts(reader, file);
    for (const problem of reader.problems) this.#add(problem);
    if (file === undefined) return undefined;
    const { objects, outbound, credentials } = await this.#sections(file);
    if (ports?.protocol === 'tcp' && file['basicAuthentication'] !== undefined) {
      const message = 'carries no requests, and nobody can be asked for a login';
      const cure = 'write http, or remove basicAuthentication';
      this.#add({ severity: 'error', code: 'no-requests', field: 'protocol', message, cure });
    }
    if (ports === undefined || this.#hasErrors()) return undefined;
    const all = new Map([...workloadObjects(ports), ...objects]);
    this.#compile(all);
    return this.#hasErrors() ? undefined : { ports, outbound, credentials, objects: all };
  }

  #hasErrors(): boolean {
    return this.problems.some(({ severity }) => severity === 'error');
  }

  async #sections(file: PlainObject): Promise<Omit<StaticConfig, 'ports'>> {
    const objects = new Map<string, RegistryObject>();
    const outbound: OutboundPort[] = [];
    let credentials: StaticCredentialsConfig | undefined;
    for (const section of SECTIONS) {
      const { key } = section;
      const value = file[key];
      if (value === undefined || value === null) continue;
      const parts = await section.read(value, {
        namespace: WORKLOAD.namespace,
        problem: (field, code, message, cure) =>
          this.#add({ severity: 'error', code, field, message, ...(cure && { cure }) }),
        readFile: (name, field) => this.#readFile(name, field),
      });
      parts.objects.forEach((object, index) => {
        const made = this.#readObject(object);
        if (made !== undefined) objects.set(`${key}/${index}`, made);
      });
      outbound.push(...(parts.outbound ?? []));
      credentials = parts.credentials ?? credentials;
    }
    return { objects, outbound, credentials };
  }

  /** By the same reader as a mesh's. */
  #readObject({ manifest, at }: SectionObject): RegistryObject | undefined {
    const kind = classify(String(manifest['apiVersion']), String(manifest['kind']));
    if (typeof kind === 'string') {
      throw new TypeError(`Cannot read section ${at}: ${String(manifest['kind'])} has no reader`);
    }
    const reading = kind.read(manifest);
    for (const problem of reading.problems) {
      this.#add({ ...problem, field: fieldIn(at, problem.field) });
    }
    return reading.kind === 'good' ? reading.objects[0] : undefined;
  }

  /** What is sound by itself may still be nothing that can be carried out. */
  #compile(objects: ReadonlyMap<string, RegistryObject>): void {
    try {
      const mesh = compileMesh({ revision: 1, objects }, staticIdentity());
      for (const { object, field, ...problem } of mesh.problems) {
        const at = object === undefined ? undefined : sectionOf(object.name);
        this.#add(at === undefined ? problem : { ...problem, field: fieldIn(at, field) });
      }
    } catch (error) {
      const message = `cannot be compiled: ${errorText(error)}`;
      this.#add({ severity: 'error', code: 'cannot-compile', message });
    }
  }

  async #readFile(name: unknown, field: string): Promise<Buffer | undefined> {
    if (typeof name !== 'string' || name === '' || name.includes('\0')) {
      const cure = 'write its path, from the folder of this file or from /';
      const message = 'expected the name of a file';
      this.#add({ severity: 'error', code: 'wrong-type', field, message, cure });
      return undefined;
    }
    return await this.#bytesOf(resolve(dirname(this.#path), name), field);
  }

  async #bytesOf(path: string, field: string | undefined): Promise<Buffer | undefined> {
    this.files.add(path);
    const refuse = (code: string, message: string): undefined => {
      this.digest.update(`${path} ${message}\n`);
      this.#add({ severity: 'error', code, message, ...(field !== undefined && { field }) });
      return undefined;
    };
    try {
      const stats = await stat(path);
      if (!stats.isFile()) return refuse('no-file', `${shown(path)} is no file`);
      if (stats.size > MAX_FILE_BYTES) {
        return refuse('too-large', `${shown(path)} has more than ${MAX_FILE_BYTES} bytes`);
      }
      const bytes = await readFile(path);
      this.digest.update(`${path} ${bytes.length}\n`).update(bytes);
      return bytes;
    } catch (error) {
      return refuse('unreadable', `cannot read ${shown(path)}: ${errorText(error)}`);
    }
  }

  #add(problem: Problem): void {
    const { field } = problem;
    const place = this.#document?.place([], field ?? '');
    this.problems.push({ ...problem, source: { file: this.#path, ...place } });
  }
}

const ENVELOPE = ['apiVersion', 'kind'];

function readEnvelope(reader: Reader, value: unknown): PlainObject | undefined {
  if (!isPlainObject(value)) {
    const cure = `begin with apiVersion: ${STATIC_API_VERSION} and kind: Sidecar`;
    reader.error('', 'no-object', 'is empty, or no mapping', cure);
    return undefined;
  }
  reader.object(value, '', [...ENVELOPE, ...PORT_KEYS, ...SECTIONS.map(({ key }) => key)]);
  if (value['apiVersion'] !== STATIC_API_VERSION) {
    const cure = `write apiVersion: ${STATIC_API_VERSION}`;
    reader.error('apiVersion', 'unknown-api-version', 'is no version of this file', cure);
  }
  if (value['kind'] !== 'Sidecar') {
    reader.error('kind', 'wrong-kind', 'expected the kind Sidecar', 'write kind: Sidecar');
  }
  return value;
}

/** `spec.rules[0]` of the object is `authorization[0].rules[0]` of the file; what stands around `spec` is the section's. */
function fieldIn(at: string, field: string | undefined): string {
  if (field === undefined || !field.startsWith('spec')) return at;
  const rest = field.slice('spec'.length);
  return at + rest;
}

/** Objects are named after their section: `authorization-0`. */
function sectionOf(name: string): string | undefined {
  const dash = name.lastIndexOf('-');
  const [key, index] = dash === -1 ? [name, ''] : [name.slice(0, dash), name.slice(dash + 1)];
  const section = SECTIONS.find((one) => one.key.toLowerCase() === key);
  if (section === undefined) return undefined;
  return index === '' ? section.key : `${section.key}[${index}]`;
}
