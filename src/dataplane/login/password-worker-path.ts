// Where the code of the thread that compares passwords is. The build puts another file in the place of this one.
import { join } from 'node:path';

export const passwordWorkerPath = (): string => join(import.meta.dirname, 'password-worker.ts');
