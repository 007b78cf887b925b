// What routes take out of heads and put into them, on the wire.
import type { PlainMessage } from '../registry.ts';
import type { HeaderRules } from '../resources/route-rule.ts';
import {
  choose,
  type Fields,
  messages,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
  texts,
} from './fields.ts';

type Side = 'request' | 'response';

export function encodeHeaderRules(side: Side, rules: HeaderRules | undefined): PlainMessage {
  if (rules === undefined) return {};
  return {
    [`${side}_headers_to_remove`]: rules.remove,
    [`${side}_headers_to_add`]: rules.put.map(({ name, value, isSet }) => ({
      // A percent sign begins a variable in Envoy.
      header: { key: name, value: value.replaceAll('%', '%%') },
      append_action: isSet ? 'OVERWRITE_IF_EXISTS_OR_ADD' : undefined,
    })),
  };
}

/** @returns `undefined` and no problem where there are none. */
export function readHeaderRules(fields: Fields, side: Side): HeaderRules | undefined {
  const remove = texts(fields, `${side}_headers_to_remove`).map((name) => {
    const lower = name.toLowerCase();
    checkName(fields, lower);
    return lower;
  });
  const put = messages(fields, `${side}_headers_to_add`, readPut);
  return remove.length + put.length === 0 ? undefined : { remove, put };
}

const readPut: Read<HeaderRules['put'][number]> = (fields) => {
  const header = requiredMessage(fields, 'header', (one) => {
    const name = requiredText(one, 'key').toLowerCase();
    checkName(one, name);
    return { name, value: readValue(one) };
  });
  const isSet = choose(fields, 'append_action', {
    '': false,
    APPEND_IF_EXISTS_OR_ADD: false,
    OVERWRITE_IF_EXISTS_OR_ADD: true,
  });
  return header && isSet !== undefined ? { ...header, isSet } : undefined;
};

function readValue(fields: Fields): string {
  const raw = requiredText(fields, 'value');
  const hasVariable = raw.replaceAll('%%', '').includes('%');
  if (hasVariable || !isPrintable(raw)) {
    report(fields, 'value', 'not-supported', `is ${shown(raw)}, with a variable or odd characters`);
  }
  return raw.replaceAll('%%', '%');
}

function isPrintable(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code !== 0x09 && (code < 0x20 || code > 0x7e)) return false;
  }
  return true;
}

/** What would end a name, or is a pseudo-header. */
function checkName(fields: Fields, name: string): void {
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (code <= 0x20 || code >= 0x7f || code === 0x3a) {
      report(fields, '', 'not-supported', `names the header ${shown(name)}`);
      return;
    }
  }
}
