// Holds the applications behind the proxies by name.
import type { AppName } from '../scenario.ts';
import { startGoApp } from './go-load.ts';
import { startH2cApp } from './h2load.ts';
import { type App, startApp } from './processes.ts';

export type StartedApp =
  | { readonly ok: true; readonly app: App }
  | { readonly ok: false; readonly reason: string };

/** A scenario whose application cannot be had here is left out, with the reason. */
export async function startAppNamed(name: AppName): Promise<StartedApp> {
  switch (name) {
    case 'http1':
      return { ok: true, app: await startApp() };
    case 'h2c':
      return startH2cApp();
    case 'grpc':
    case 'tcp':
      return startGoApp(name);
    default:
      return name satisfies never;
  }
}
