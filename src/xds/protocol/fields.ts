// Reads single fields of a decoded envelope: absent and wrongly typed ones have the protocol's defaults.
import type { PlainMessage } from '../registry.ts';

export function textOf(message: PlainMessage | undefined, field: string): string {
  const value = message?.[field];
  return typeof value === 'string' ? value : '';
}

export function textsOf(message: PlainMessage, field: string): readonly string[] {
  return listOf(message, field).filter((item): item is string => typeof item === 'string');
}

export function bytesOf(message: PlainMessage | undefined, field: string): Uint8Array {
  const value = message?.[field];
  return value instanceof Uint8Array ? value : new Uint8Array();
}

const isPlainMessage = (value: unknown): value is PlainMessage =>
  typeof value === 'object' && value !== null;

export function messageOf(
  message: PlainMessage | undefined,
  field: string,
): PlainMessage | undefined {
  const value = message?.[field];
  return isPlainMessage(value) ? value : undefined;
}

export function messagesOf(message: PlainMessage, field: string): readonly PlainMessage[] {
  return listOf(message, field).filter(isPlainMessage);
}

/** A `map<string, string>`. */
export function textMapOf(message: PlainMessage, field: string): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const [key, value] of Object.entries(messageOf(message, field) ?? {})) {
    if (typeof value === 'string') texts.set(key, value);
  }
  return texts;
}

function listOf(message: PlainMessage, field: string): readonly unknown[] {
  const value = message[field];
  return Array.isArray(value) ? value : [];
}
