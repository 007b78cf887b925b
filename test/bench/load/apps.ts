// Holds the applications behind the proxies by name.
import type { AppName } from '../scenario.ts';
import { type App, startApp } from './processes.ts';

export type StartedApp =
  | { readonly ok: true; readonly app: App }
  | { readonly ok: false; readonly reason: string };

/** A scenario whose application is not here is left out, with the reason. */
export async function startAppNamed(name: AppName): Promise<StartedApp> {
  switch (name) {
    case 'http1':
      return { ok: true, app: await startApp() };
    case 'h2c':
    case 'grpc':
    case 'tcp':
      return { ok: false, reason: `there is no application for ${name} yet` };
    default:
      return name satisfies never;
  }
}
