// Asks an authorizer that speaks plain HTTP: the request's own method and path, and 200 means yes.
import { compileString, type StringTest } from '@weft/model/policy/matchers';
import type { StringMatcher } from '@weft/model/policy/rbac';
import type { ExtAuthz, HttpAuthorizer } from '@weft/xds/resources/ext-authz';
import type { GateRequest } from '../filters/request-gate.ts';
import { askOverHttp1 } from './ask-over-http1.ts';
import { askOverHttp2 } from './ask-over-http2.ts';
import { type Authorizer, isUntouchable, noRuling, type Ruling } from './authorizer.ts';
import { firstOf, type Reply } from './reply.ts';
import { toldHeaders } from './told-headers.ts';

/** Always told, as Envoy tells it. */
const ALWAYS_TOLD: ReadonlySet<string> = new Set(['authorization']);
/** Always passed on with a refusal, so that a client can do something about it. */
const ALWAYS_PASSED: ReadonlySet<string> = new Set(['location', 'www-authenticate']);
/** How an authorizer over HTTP has headers taken out of the request. */
const TO_REMOVE = 'x-envoy-auth-headers-to-remove';

const anyOf = (matchers: readonly StringMatcher[]): StringTest => {
  const tests = matchers.map(compileString);
  return (name) => tests.some((test) => test(name));
};

export function createHttpAuthorizer(authz: ExtAuthz, service: HttpAuthorizer): Authorizer {
  const isAsked = anyOf(service.requestHeaders);
  const isForUpstream = anyOf(service.toUpstreamOnAllow);
  const isForClient =
    service.toDownstreamOnDeny.length === 0 ? () => true : anyOf(service.toDownstreamOnDeny);
  const rule = (reply: Reply): Ruling => {
    if (reply.status === 200) return allow(reply, isForUpstream);
    if (reply.status >= 500) return noRuling(`authorizer-${reply.status}`);
    return refuse(reply, isForClient);
  };
  return {
    async ask(upstream, request, signal) {
      const fields = fieldsOf(request, service, isAsked);
      const path = service.pathPrefix + (request.facts.target ?? '/');
      const { method = 'GET', authority = authz.host } = request.facts;
      const asked = upstream.isHttp2
        ? await askOverHttp2(upstream.http2, http2Question(method, path, authority, fields), signal)
        : await askOverHttp1(
            upstream.http1,
            http1Question(method, path, authority, fields),
            signal,
          );
      return asked.ok ? rule(asked.reply) : noRuling(asked.reasonCode);
    },
  };
}

type Fields = readonly (readonly [string, string])[];

/** Every value for itself. What the filter adds stands in place of what the client says under that name. */
function fieldsOf(request: GateRequest, service: HttpAuthorizer, isAsked: StringTest): Fields {
  const fields: (readonly [string, string])[] = [];
  const added = new Set(service.additionalHeaders.map(([name]) => name));
  for (const [name, values] of toldHeaders(request)) {
    if (added.has(name) || name === 'content-length') continue;
    if (!ALWAYS_TOLD.has(name) && !isAsked(name)) continue;
    for (const value of values) fields.push([name, value]);
  }
  return [...fields, ...service.additionalHeaders, ['content-length', '0']];
}

function http1Question(method: string, path: string, authority: string, fields: Fields) {
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return {
    text: `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\n${lines}\r\n`,
    isHead: method === 'HEAD',
  };
}

function http2Question(method: string, path: string, authority: string, fields: Fields) {
  const pseudo = [':method', method, ':scheme', 'http', ':authority', authority, ':path', path];
  return { headers: [...pseudo, ...fields.flat()], body: undefined };
}

function allow(reply: Reply, isForUpstream: StringTest): Ruling {
  const changes = reply.headers
    .filter(([name]) => isForUpstream(name) && !isUntouchable(name))
    .map(([name, value]) => ({ name, value, isAppended: false }));
  const removed = (firstOf(reply.headers, TO_REMOVE) ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '' && !isUntouchable(name));
  return { kind: 'allow', changes, removed, metadata: undefined };
}

function refuse({ status, headers, body }: Reply, isForClient: StringTest): Ruling {
  const passed = headers.filter(
    ([name]) => !isUntouchable(name) && (ALWAYS_PASSED.has(name) || isForClient(name)),
  );
  return { kind: 'deny', status, headers: passed, body: body.toString('utf8') };
}
