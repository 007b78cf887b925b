// The manifests and calls by which routes are shown: run against a sidecar, and against an Envoy that is given the same routes.
import type http from 'node:http';

const route = (kind: string, name: string, spec: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: ${name}, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, port: 80 }]
  rules:
${spec}
`;

/** Of the shape of Gateway API's own examples for a mesh. */
const WEB = route(
  'HTTPRoute',
  'web',
  `
  - matches: [{ path: { type: Exact, value: /exact } }]
    backendRefs: [{ name: web-v2, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /v2 } }]
    backendRefs: [{ name: web-v2, port: 80 }]
  - matches: [{ path: { type: RegularExpression, value: "/user/[0-9]+/.*" } }]
    backendRefs: [{ name: web-v2, port: 80 }]
  - matches:
    - path: { type: PathPrefix, value: /asked }
      headers: [{ name: X-Version, value: two }]
    - path: { type: PathPrefix, value: /asked }
      queryParams: [{ name: v, value: "2" }]
    - path: { type: PathPrefix, value: /asked }
      method: DELETE
    backendRefs: [{ name: web-v2, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /asked } }]
    backendRefs: [{ name: web, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /headers } }]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{ name: x-set, value: "100% weft" }]
        add: [{ name: x-added, value: more }]
        remove: [x-removed]
    - type: ResponseHeaderModifier
      responseHeaderModifier:
        set: [{ name: x-app, value: hidden }]
        add: [{ name: x-answer, value: seen }]
        remove: [x-secret]
    backendRefs: [{ name: web, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /old } }]
    filters:
    - type: URLRewrite
      urlRewrite:
        hostname: rewritten.test
        path: { type: ReplacePrefixMatch, replacePrefixMatch: /new }
    backendRefs: [{ name: web, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /strip } }]
    filters:
    - type: URLRewrite
      urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: / } }
    backendRefs: [{ name: web, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /full } }]
    filters:
    - type: URLRewrite
      urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /whole } }
    backendRefs: [{ name: web, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /moved } }]
    filters:
    - type: RequestRedirect
      requestRedirect:
        hostname: other.test
        port: 8443
        scheme: https
        statusCode: 301
        path: { type: ReplacePrefixMatch, replacePrefixMatch: /here }
  - matches: [{ path: { type: PathPrefix, value: /missing } }]
    backendRefs: [{ name: nobody, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /never } }]
    backendRefs: [{ name: web, port: 80 }]
    timeouts: { request: 300ms }
  - matches: [{ path: { type: PathPrefix, value: /flaky } }]
    backendRefs: [{ name: web, port: 80 }]
    retry: { codes: [503], attempts: 2, backoff: 1ms }
  - matches: [{ path: { type: PathPrefix, value: /stuck } }]
    backendRefs: [{ name: web, port: 80 }]
    timeouts: { request: 10s, backendRequest: 1s }
    retry: { codes: [503], attempts: 2, backoff: 1ms }
  - matches: [{ path: { type: PathPrefix, value: /copied } }]
    filters:
    - type: RequestMirror
      requestMirror: { backendRef: { name: web-v2, port: 80 } }
    backendRefs: [{ name: web, port: 80 }]
`,
);

/** Another route at the same port. */
const MORE = route(
  'HTTPRoute',
  'more',
  `
  - matches: [{ path: { type: PathPrefix, value: /https } }]
    filters: [{ type: RequestRedirect, requestRedirect: { scheme: https } }]
  - matches: [{ path: { type: PathPrefix, value: /host } }]
    filters: [{ type: RequestRedirect, requestRedirect: { hostname: other.test } }]
`,
);

export const ROUTES = [WEB, MORE].join('---');

export interface RouteCase {
  readonly path: string;
  readonly method?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  /** What comes of it, as `outcomeOf` tells it. */
  readonly outcome: string;
}

export const CASES: readonly RouteCase[] = [
  { path: '/exact', outcome: 'web-v2 GET /exact' },
  { path: '/exact/', outcome: '404' },
  { path: '/v2', outcome: 'web-v2 GET /v2' },
  { path: '/v2/a?b', outcome: 'web-v2 GET /v2/a?b' },
  { path: '/v2a', outcome: '404' },
  { path: '/user/42/x', outcome: 'web-v2 GET /user/42/x' },
  { path: '/user/me/x', outcome: '404' },
  { path: '/asked', outcome: 'web GET /asked' },
  { path: '/asked', headers: { 'x-version': 'two' }, outcome: 'web-v2 GET /asked' },
  { path: '/asked', headers: { 'x-version': 'TWO' }, outcome: 'web GET /asked' },
  { path: '/asked', headers: { 'x-version': ['two', 'one'] }, outcome: 'web-v2 GET /asked' },
  { path: '/asked', headers: { 'x-version': ['one', 'two'] }, outcome: 'web-v2 GET /asked' },
  { path: '/asked', headers: { 'x-version': 'two,one' }, outcome: 'web GET /asked' },
  { path: '/asked', headers: { 'x-version': 'two, one' }, outcome: 'web GET /asked' },
  { path: '/asked?a=1&v=2', outcome: 'web-v2 GET /asked?a=1&v=2' },
  { path: '/asked?v=3&v=2', outcome: 'web GET /asked?v=3&v=2' },
  { path: '/asked?v=%32', outcome: 'web GET /asked?v=%32' },
  { path: '/asked', method: 'DELETE', outcome: 'web-v2 DELETE /asked' },
  { path: '/old', outcome: 'web GET /new host rewritten.test' },
  { path: '/old/a/b?c=/old', outcome: 'web GET /new/a/b?c=/old host rewritten.test' },
  { path: '/strip', outcome: 'web GET /' },
  { path: '/strip/', outcome: 'web GET /' },
  { path: '/strip/a?b', outcome: 'web GET /a?b' },
  { path: '/full/a?b', outcome: 'web GET /whole?b' },
  { path: '/moved/a?b', outcome: '301 https://other.test:8443/here/a?b' },
  { path: '/https', outcome: '302 https://web/https' },
  { path: '/host', outcome: '302 http://other.test/host' },
  { path: '/missing', outcome: '500' },
  { path: '/never', outcome: '504' },
  { path: '/elsewhere', outcome: '404' },
];
