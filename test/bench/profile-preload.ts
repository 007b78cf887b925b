// Loaded into a sidecar that is profiled: a first SIGUSR2 begins a profile, the second ends it and writes it to a folder.
import { renameSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';

export const FOLDER_VARIABLE = 'WEFT_BENCH_PROFILES';
/** A name that is there holds all of it. */
export const profileName = (pid: number): string => `${pid}.cpuprofile`;

let session: Session | undefined;

async function turn(folder: string): Promise<void> {
  if (session === undefined) {
    session = new Session();
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
    return;
  }
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  const file = join(folder, profileName(process.pid));
  writeFileSync(`${file}.new`, JSON.stringify(profile));
  renameSync(`${file}.new`, file);
}

const folder = process.env[FOLDER_VARIABLE];
if (folder !== undefined) process.on('SIGUSR2', () => void turn(folder));
