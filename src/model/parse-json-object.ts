// Reads texts that must be JSON objects.
import { isPlainObject, type PlainObject } from './policy/reader.ts';

/** @returns `undefined` for everything else; the parser's own message would repeat what it was given. */
export function parseJsonObject(text: string): PlainObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isPlainObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
