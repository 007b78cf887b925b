// The section that gives the application credentials; its reader is loaded where there is one.
import { Reader } from '@weft/model/policy/reader';
import { NO_PARTS, type Section } from './section.ts';

export const CREDENTIALS: Section = {
  key: 'credentials',
  async read(value, context) {
    const { readCredentials } = await import('./read-credentials.ts');
    const reader = new Reader();
    const credentials = readCredentials(reader, value);
    for (const { field = 'credentials', code, message, cure } of reader.problems) {
      context.problem(field, code, message, cure);
    }
    return credentials === undefined ? NO_PARTS : { ...NO_PARTS, credentials };
  },
};
