// A sidecar of its own file for tests: its folder, its process, and curl as its client.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isPlainObject, type PlainObject } from '@weft/model/policy/reader';
import { Daemon } from './lab-daemon.ts';
import { startHttpApp, type HttpApp } from './lab-clients.ts';
import { eventually } from './lab-wait.ts';

const run = promisify(execFile);

export interface CurlAnswer {
  readonly status: number;
  /** Names in lower case; of several the last. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** As people call it. A connection that fails is status 0. */
export async function curl(...args: readonly string[]): Promise<CurlAnswer> {
  const found = await run('curl', ['-s', '-i', '--max-time', '20', ...args]).catch(
    (error: unknown) => {
      const said = isPlainObject(error) ? error['stdout'] : undefined;
      return typeof said === 'string' ? said : '';
    },
  );
  const text = typeof found === 'string' ? found : found.stdout;
  const end = text.indexOf('\r\n\r\n');
  const [first = '', ...lines] = text.slice(0, end === -1 ? 0 : end).split('\r\n');
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return {
    status: Number(first.split(' ')[1] ?? 0),
    headers: new Map(headers),
    body: end === -1 ? '' : text.slice(end + 4),
  };
}

export interface StaticRig extends AsyncDisposable {
  readonly app: HttpApp;
  readonly daemon: Daemon;
  readonly folder: string;
  readonly ready: PlainObject;
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly admin: string;
  /** Puts another text in the place of a file, as an editor does. */
  write(name: string, text: string): Promise<void>;
  /** The next line of the log that says that it was taken, or refused. */
  taken(): Promise<PlainObject>;
  refused(): Promise<PlainObject>;
}

export const TAKEN = 'the file has changed and is in force';
export const REFUSED = 'refused the file; the last good version stays in force';

export interface StaticRigOptions {
  /** Besides apiVersion, kind, listen, application and admin. */
  readonly sections: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly listen?: string;
  /** Another than the rig's own. */
  readonly application?: string;
}

export const staticFile = (application: string, sections: string, listen = '127.0.0.1:0'): string =>
  [
    'apiVersion: sidecar.weft.dev/v1',
    'kind: Sidecar',
    `listen: ${listen}`,
    `application: ${application}`,
    'admin: 127.0.0.1:0',
    sections,
    '',
  ].join('\n');

export async function startStatic(options: StaticRigOptions): Promise<StaticRig> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'weft-static-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const app = stack.use(await startHttpApp({ name: 'app' }));
  const write = async (name: string, text: string): Promise<void> => {
    await writeFile(join(folder, `.${name}.new`), text);
    await rename(join(folder, `.${name}.new`), join(folder, name));
  };
  for (const [name, text] of Object.entries(options.files ?? {})) await write(name, text);
  const { application = app.address, sections, listen } = options;
  await write('sidecar.yaml', staticFile(application, sections, listen));
  const daemon = stack.use(
    new Daemon('sidecar', ['sidecar', '--config', join(folder, 'sidecar.yaml')]),
  );
  const ready = await daemon.ready();
  const { inbound } = ready;
  assert.ok(isPlainObject(inbound));
  let seen = 0;
  const next = (message: string): Promise<PlainObject> =>
    eventually(
      () => {
        const at = daemon.lines.findIndex(({ msg }, index) => index >= seen && msg === message);
        if (at === -1) return undefined;
        seen = at + 1;
        return daemon.lines[at];
      },
      { what: message, withinMs: 15_000, told: () => daemon.tail() },
    );
  const owned = stack.move();
  return {
    app,
    daemon,
    folder,
    ready,
    url: `http://${String(Object.values(inbound)[0])}`,
    admin: `http://${String(ready['admin'])}`,
    write,
    taken: () => next(TAKEN),
    refused: () => next(REFUSED),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
