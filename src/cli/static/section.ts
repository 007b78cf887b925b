// What a section of a sidecar's own file is: a part that says what an object of the mesh would, for the one workload there is.
import type { PlainObject } from '@weft/model/policy/reader';
import type { OutboundPort } from '@weft/dataplane/options';
import type { StaticCredentialsConfig } from './read-credentials.ts';

/** An object as a manifest, and where in the file its `spec` stands. */
export interface SectionObject {
  readonly manifest: PlainObject;
  /** `authorization[0]`; problems of `spec.rules` are told as those of `authorization[0].rules`. */
  readonly at: string;
}

export interface SectionParts {
  readonly objects: readonly SectionObject[];
  /** Local ports by which the application calls out. They cannot change while the sidecar runs. */
  readonly outbound?: readonly OutboundPort[];
  /** What the application is given. Where it asks for it cannot change while the sidecar runs. */
  readonly credentials?: StaticCredentialsConfig;
}

export interface SectionContext {
  /** Where the one workload is; objects of other namespaces do not hold for it, but for destinations that it calls. */
  readonly namespace: string;
  /** What is wrong with the section itself. Readers of kinds find the rest. */
  problem(field: string, code: string, message: string, cure?: string): void;
  /**
   * Reads a file that the section names; a relative name counts from the folder of the sidecar's own file. It is watched
   * from now on. @returns `undefined` when it cannot be read, which is then among the problems.
   */
  readFile(name: unknown, field: string): Promise<Buffer | undefined>;
}

export interface Section {
  /** Its key in the file. */
  readonly key: string;
  read(value: unknown, context: SectionContext): Promise<SectionParts>;
}

/** Nothing. */
export const NO_PARTS: SectionParts = { objects: [] };

/** A manifest of the workload's namespace. */
export const manifestOf = (
  kind: { readonly apiVersion: string; readonly kind: string; readonly name: string },
  namespace: string,
  body: PlainObject,
): PlainObject => ({
  apiVersion: kind.apiVersion,
  kind: kind.kind,
  metadata: { name: kind.name, namespace },
  ...body,
});
