// What the command line takes, and what it says to what it does not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseCidrText,
  parseDuration,
  parseHostPort,
  parseInbound,
  parseOutbound,
  parsePort,
  parseRunAs,
} from './parse.ts';

const accepted: readonly (readonly [string, () => unknown, unknown])[] = [
  ['300ms', () => parseDuration('300ms'), 300],
  ['1.5h', () => parseDuration('1.5h'), 5_400_000],
  ['port 0', () => parsePort('0'), 0],
  ['host and port', () => parseHostPort('a.b:80'), { host: 'a.b', port: 80 }],
  ['IPv6', () => parseHostPort('[::1]:80'), { host: '::1', port: 80 }],
  ['port alone', () => parseHostPort('80', '127.0.0.1'), { host: '127.0.0.1', port: 80 }],
  [
    'inbound',
    () => parseInbound('8080=3000'),
    { port: 8080, target: { host: '127.0.0.1', port: 3000 } },
  ],
  [
    'outbound',
    () => parseOutbound('127.0.0.2:9001=prices.shop:80'),
    { listen: { host: '127.0.0.2', port: 9001 }, destination: { host: 'prices.shop', port: 80 } },
  ],
  ['CIDR', () => parseCidrText('fd00::/8'), 'fd00::/8'],
  ['user', () => parseRunAs('1337'), { uid: 1337, gid: 1337 }],
  ['user and group', () => parseRunAs('1:2'), { uid: 1, gid: 2 }],
];
for (const [name, parse, value] of accepted) {
  test(`options take ${name}`, () => assert.deepEqual(parse(), value));
}

const refused: readonly (readonly [string, () => unknown, RegExp])[] = [
  ['a duration without a unit', () => parseDuration('10'), /300ms, 10s/],
  ['a negative duration', () => parseDuration('-1s'), /no duration/],
  ['a port too high', () => parsePort('65536'), /0 to 65535/],
  ['a port with a sign', () => parsePort('+80'), /no port/],
  ['a host without a port', () => parseHostPort('a.b'), /HOST:PORT/],
  ['a bare IPv6 address', () => parseHostPort('::1'), /\[IPv6\]:PORT/],
  ['an inbound without a target', () => parseInbound('8080'), /PORT=HOST:PORT/],
  ['an outbound without a destination', () => parseOutbound('9001'), /SERVICE\.NAMESPACE:PORT/],
  ['a CIDR without a length', () => parseCidrText('10.0.0.0'), /no CIDR/],
  ['a CIDR too long', () => parseCidrText('10.0.0.0/33'), /no CIDR/],
  ['a user by name', () => parseRunAs('root'), /UID/],
];
for (const [name, parse, message] of refused) {
  test(`options refuse ${name} and say what to write`, () => assert.throws(parse, message));
}
