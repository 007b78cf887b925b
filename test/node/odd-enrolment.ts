// A Pod that enrols as a sidecar does, with a token or a clock that is not as it should be.
import { execFileSync } from 'node:child_process';
import { createPrivateKey, sign } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { container, env, podObject } from './objects.ts';

export interface OddEnrolment {
  readonly name: string;
  readonly namespace: string;
  readonly account: string;
  /** Secret with the token, key `token`; absent: its own, as the kubelet gives it. */
  readonly secret?: string;
  /** Of the shared object that shifts its clock. */
  readonly preload?: string;
}

const CONTROL_PLANE = 'weft-control-plane.weft-system.svc';
const TOKEN = { audience: 'weft-ca', expirationSeconds: 3_600, path: 'token' };

/** Without a redirect: it only enrols, and is ready when it is served. */
export function enrollingPod(odd: OddEnrolment): object {
  const { name, namespace, account, secret, preload } = odd;
  const token =
    secret === undefined
      ? { projected: { sources: [{ serviceAccountToken: TOKEN }] } }
      : { secret: { secretName: secret } };
  const sidecar = container('sidecar', 'weft/sidecar', {
    args: [
      'sidecar',
      '--transparent',
      '--no-interception-check',
      '--service-account-token-file=/odd/token',
      '--bundle=/bundle/bundle.pem',
      `--enrolment=${CONTROL_PLANE}:15013`,
      `--xds=${CONTROL_PLANE}:15012`,
      '--probes=[::]:15021',
    ],
    env: [
      ...env({
        WEFT_POD: name,
        WEFT_NAMESPACE: namespace,
        ...(preload !== undefined && { LD_PRELOAD: `/clock/${basename(preload)}` }),
      }),
      { name: 'WEFT_POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    ],
    readinessProbe: { httpGet: { path: '/healthz/ready', port: 15_021 }, periodSeconds: 1 },
    volumeMounts: [
      { name: 'odd', mountPath: '/odd' },
      { name: 'bundle', mountPath: '/bundle' },
      ...(preload === undefined ? [] : [{ name: 'clock', mountPath: '/clock' }]),
    ],
  });
  const volumes = [
    { name: 'odd', ...token },
    { name: 'bundle', configMap: { name: 'weft-trust-bundle' } },
    ...(preload === undefined ? [] : [{ name: 'clock', hostPath: { path: dirname(preload) } }]),
  ];
  return podObject(
    { name, namespace, labels: { app: name, 'weft.dev/inject': 'false' } },
    { serviceAccountName: account, containers: [sidecar], volumes },
  );
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const read = (text = ''): Record<string, unknown> =>
  JSON.parse(Buffer.from(text, 'base64url').toString());

/** The same token, signed with the cluster's key (ES256), as if it had been made so long ago. */
export function agedToken(token: string, keyFile: string, ageSeconds: number): string {
  const [header = '', payload] = token.split('.');
  const claims = read(payload);
  for (const name of ['iat', 'nbf', 'exp']) claims[name] = Number(claims[name]) - ageSeconds;
  const body = `${header}.${part(claims)}`;
  const key = createPrivateKey(readFileSync(keyFile));
  const signature = sign('sha256', Buffer.from(body), { key, dsaEncoding: 'ieee-p1363' });
  return `${body}.${signature.toString('base64url')}`;
}

const CLOCK_SOURCE = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
typedef int (*of_clock)(clockid_t, struct timespec *);
int clock_gettime(clockid_t id, struct timespec *at) {
  static of_clock real;
  if (!real) real = (of_clock)dlsym(RTLD_NEXT, "clock_gettime");
  int end = real(id, at);
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) at->tv_sec += SHIFT;
  return end;
}
time_t time(time_t *to) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  if (to) *to = at.tv_sec;
  return at.tv_sec;
}
int gettimeofday(struct timeval *restrict to, void *restrict zone) {
  struct timespec at;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &at);
  to->tv_sec = at.tv_sec;
  to->tv_usec = at.tv_nsec / 1000;
  return 0;
}
`;

/** @returns why no clock can be shifted here, or `undefined`. */
export function shiftMissing(): string | undefined {
  try {
    execFileSync('cc', ['--version'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `a clock is shifted by what a C compiler (cc) makes: ${String(error)}`;
  }
}

/** @returns the path of a shared object in `parent` that adds so many seconds to the clock. */
export function shiftedClock(parent: string, shiftSeconds: number): string {
  const folder = mkdtempSync(join(parent, 'clock-'));
  chmodSync(folder, 0o755);
  const source = join(folder, 'clock.c');
  const file = join(folder, 'clock.so');
  writeFileSync(source, CLOCK_SOURCE);
  const flags = ['-shared', '-fPIC', `-DSHIFT=(${shiftSeconds})`, '-o', file];
  execFileSync('cc', [...flags, source, '-ldl'], { stdio: 'pipe' });
  return file;
}
