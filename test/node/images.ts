// What a container image is on a node of tests: files of this machine at paths of the container, and how its program is started.
import { fileURLToPath } from 'node:url';

export interface Image {
  /** Files and folders of this machine by their path in the container; read-only. All else of this machine's root is there, too, as the image's lower layer. */
  readonly files?: Readonly<Record<string, string>>;
  /** Used when the container has no `command`. */
  readonly entrypoint?: readonly string[];
  /** Used when the container has neither `command` nor `args`. */
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Numeric; default 0, as of an image that names none. */
  readonly uid?: number;
  readonly gid?: number;
  readonly workingDir?: string;
}

export type Images = Readonly<Record<string, Image>>;

const NODE_PATH = '/usr/local/bin/node';
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Node itself, for an image whose program is a script. */
export const nodeFiles: Readonly<Record<string, string>> = { [NODE_PATH]: process.execPath };

const app = (name: string): Image => ({
  files: { ...nodeFiles, '/app': root },
  entrypoint: [NODE_PATH, `/app/test/node/apps/${name}.ts`],
});

/** Applications for Pods; each reads its arguments as its own file says. */
export const TEST_APPS: Images = {
  'test/shell': { files: nodeFiles, command: ['sh'] },
  'test/http-echo': app('http-echo'),
  'test/tcp-echo': app('tcp-echo'),
  'test/grpc-echo': app('grpc-echo'),
  'test/xds-echo': app('xds-echo'),
  'test/caller': app('caller'),
};

/** How a container of the image `test/caller` calls once when it is entered. */
export const CALLER: readonly string[] = [NODE_PATH, '/app/test/node/apps/caller.ts'];

/** By the name as it is, else without registry tag and digest. */
export function findImage(images: Images, name: string): Image | undefined {
  const [withTag = ''] = name.split('@', 1);
  const colon = withTag.lastIndexOf(':');
  const bare = colon > withTag.lastIndexOf('/') ? withTag.slice(0, colon) : withTag;
  return images[name] ?? images[withTag] ?? images[bare];
}
