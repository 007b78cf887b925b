// Answers to refused requests on the wire: Envoy's local reply mappers, each for the rules whose names begin alike.
import {
  DENIED_BY,
  type DenialReply,
  NO_RULE,
  PROBLEM,
  PROBLEM_TYPE,
} from '@weft/model/policy/denials';
import type { PlainMessage } from '../registry.ts';
import {
  choose,
  type Fields,
  isSet,
  message,
  messages,
  oneOf,
  type Read,
  report,
  requiredMessage,
  requiredText,
  shown,
  text,
} from './fields.ts';
import {
  encodeExtension,
  encodeTexts,
  encodeUint,
  type Extension,
  nonEmpty,
  readExtension,
  readTexts,
  uintValue,
} from './well-known.ts';

/** What Envoy says of a refused request: the rule in brackets, `none` when no ALLOW rule matched. */
const DETAILS = 'rbac_access_denied_matched_policy[';
const STARTS = 'response.code_details.startsWith("';
const EQUALS = 'response.code_details == "';
/** Whatever would end the text in an expression. */
const QUOTING = '"\\';
const RULE_SHOWN = '%RESPONSE_CODE_DETAILS%';

const PROBLEM_FORMAT = {
  ...PROBLEM,
  status: '%RESPONSE_CODE%',
  detail: '%LOCAL_REPLY_BODY%',
  policy: RULE_SHOWN,
};

/** @throws TypeError for rules that no expression can name. */
export const encodeLocalReplies = (
  replies: readonly DenialReply[] | undefined,
): PlainMessage | undefined =>
  replies === undefined || replies.length === 0 ? undefined : { mappers: replies.map(encodeReply) };

function encodeReply({ rules, status, body, explain }: DenialReply): PlainMessage {
  if (rules === '' || Array.from(rules).some((char) => QUOTING.includes(char) || char < ' '))
    throw new TypeError(`Cannot encode an answer for rules ${JSON.stringify(rules)}`);
  const expression =
    rules === NO_RULE ? `${EQUALS}${DETAILS}${NO_RULE}]"` : `${STARTS}${DETAILS}${rules}")`;
  const header = { key: DENIED_BY, value: RULE_SHOWN };
  return {
    filter: { extension_filter: encodeExtension(CEL, { expression }) },
    status_code: status === undefined ? undefined : encodeUint(status),
    body: body === undefined ? undefined : { inline_string: body },
    body_format_override:
      explain === 'problem'
        ? { json_format: encodeTexts(PROBLEM_FORMAT), content_type: PROBLEM_TYPE }
        : undefined,
    headers_to_add:
      explain === 'header' ? [{ header, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' }] : [],
  };
}

const CEL: Extension<string> = {
  name: 'envoy.access_loggers.extension_filters.cel',
  typeName: 'envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter',
  read: (fields) => requiredText(fields, 'expression'),
};

export const readLocalReplies: Read<readonly DenialReply[]> = (fields) =>
  messages(fields, 'mappers', readReply);

const readReply: Read<DenialReply> = (fields) => {
  const rules = requiredMessage(fields, 'filter', readRules);
  const status = uintValue(fields, 'status_code', 599);
  const body = message(fields, 'body', (source) => {
    if (oneOf(source, 'specifier') === 'inline_string') return text(source, 'inline_string');
    return report(source, '', 'not-supported', 'is no inline string');
  });
  const hasProblem = isSet(fields, 'body_format_override');
  const hasHeader = isSet(fields, 'headers_to_add');
  message(fields, 'body_format_override', readProblemFormat);
  messages(fields, 'headers_to_add', readHeader);
  if (hasProblem && hasHeader)
    report(fields, 'headers_to_add', 'not-supported', 'is beside a body');
  if (rules === undefined) return undefined;
  return {
    rules,
    ...(status !== undefined && { status }),
    ...(body !== undefined && { body }),
    ...(hasProblem && { explain: 'problem' as const }),
    ...(hasHeader && { explain: 'header' as const }),
  };
};

const readRules: Read<string> = (fields) => {
  if (oneOf(fields, 'filter_specifier') !== 'extension_filter') return undefined;
  return message(fields, 'extension_filter', (filter) => {
    const expression = readExtension(filter, [CEL]);
    if (expression === undefined) return undefined;
    if (expression === `${EQUALS}${DETAILS}${NO_RULE}]"`) return NO_RULE;
    const start = STARTS + DETAILS;
    const rules = expression.slice(start.length, -2);
    const isKnown = expression === `${start}${rules}")` && rules !== '';
    if (isKnown && !Array.from(rules).some((char) => QUOTING.includes(char))) return rules;
    return report(filter, '', 'not-supported', `has the expression ${shown(expression)}`);
  });
};

function readProblemFormat(fields: Fields): true | undefined {
  const type = requiredText(fields, 'content_type');
  if (oneOf(fields, 'format') !== 'json_format') return undefined;
  const format = message(fields, 'json_format', readTexts);
  const isProblem =
    format !== undefined &&
    type === PROBLEM_TYPE &&
    format.size === Object.keys(PROBLEM_FORMAT).length &&
    Object.entries(PROBLEM_FORMAT).every(([key, value]) => format.get(key) === value);
  return isProblem || report(fields, 'json_format', 'not-supported', 'is no problem document');
}

function readHeader(fields: Fields): true | undefined {
  const header = requiredMessage(fields, 'header', (one) => ({
    name: requiredText(one, 'key'),
    value: nonEmpty(text(one, 'value')),
  }));
  const isSetAnew = choose(fields, 'append_action', { OVERWRITE_IF_EXISTS_OR_ADD: true });
  if (header?.name === DENIED_BY && header.value === RULE_SHOWN && isSetAnew === true) return true;
  return report(fields, 'header', 'not-supported', `is not ${DENIED_BY} with the rule`);
}
