// Path templates on the wire: Istio's `{*}` and `{**}` as Envoy's `*` and `**`.
import type { PlainMessage } from '../registry.ts';
import { type Read, report, requiredText, shown } from './fields.ts';
import { type Extension, encodeExtension, readExtension } from './well-known.ts';

/** What a literal segment may hold: RFC 3986 path characters without the wildcard. */
const SEGMENT_CHARS =
  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()+,;:@=";
/** Envoy's own bound (UriTemplateMatchConfig.path_template). */
export const MAX_TEMPLATE_LENGTH = 256;

const TYPE_NAME = 'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig';

/** @throws {RangeError} for what is not a template: parsing the policy has refused it before. */
export function encodeUriTemplate(template: string): PlainMessage {
  const path = translate(template, { '{*}': '*', '{**}': '**' });
  if (path === undefined || path.length > MAX_TEMPLATE_LENGTH)
    throw new RangeError(`Cannot encode a path template: ${JSON.stringify(template)} is not one`);
  return encodeExtension(URI_TEMPLATE, { path_template: path });
}

/** The template in Istio's spelling. */
export const readUriTemplate: Read<string> = (fields) => readExtension(fields, [URI_TEMPLATE]);

const URI_TEMPLATE: Extension<string> = {
  name: 'envoy.path.match.uri_template.uri_template_matcher',
  typeName: TYPE_NAME,
  read: (fields) => {
    const path = requiredText(fields, 'path_template');
    const template =
      path.length > MAX_TEMPLATE_LENGTH ? undefined : translate(path, { '*': '{*}', '**': '{**}' });
    if (template !== undefined) return template;
    return report(fields, 'path_template', 'not-supported', `is ${shown(path)}: no known template`);
  },
};

/**
 * Writes a template with other operators. An operator is a whole segment, and none comes after the one for many segments.
 * @returns `undefined` when the text is no template.
 */
function translate(
  text: string,
  operators: { readonly [operator: string]: string },
): string | undefined {
  const [first, ...segments] = text.split('/');
  if (first !== '' || segments.length === 0) return undefined;
  const [, many] = Object.keys(operators);
  let hasMany = false;
  for (const [index, segment] of segments.entries()) {
    const operator = Object.hasOwn(operators, segment) ? operators[segment] : undefined;
    if (operator === undefined) {
      if (!isLiteral(segment)) return undefined;
    } else {
      if (hasMany) return undefined;
      hasMany = segment === many;
      segments[index] = operator;
    }
  }
  return `/${segments.join('/')}`;
}

function isLiteral(segment: string): boolean {
  for (const char of segment) if (!SEGMENT_CHARS.includes(char)) return false;
  return true;
}
