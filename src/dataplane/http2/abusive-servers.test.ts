// Applications and sidecars that make the proxy work for nothing, or say what nobody may: their connection ends, their callers are told, and others are served.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import { deadline } from '../../../test/support/servers.ts';
import {
  field,
  frame,
  headers,
  OK,
  RawPeer,
  SETTINGS,
  uint32,
} from '../../../test/support/http2-frames.ts';
import { createRig } from '../../../test/support/http2-rig.ts';
import { ERROR, FLAG, FRAME, PREFACE } from './frames.ts';

interface Server extends AsyncDisposable {
  readonly port: number;
  /** The first connection, once the request is there. */
  readonly first: Promise<RawPeer>;
}

/** Its first connection is the test's; on the others it answers every request. */
async function serve(): Promise<Server> {
  const peers = new Set<RawPeer>();
  const first = Promise.withResolvers<RawPeer>();
  const server = net.createServer((socket) => {
    const peer = new RawPeer(socket, PREFACE.length);
    const isFirst = peers.size === 0;
    peers.add(peer);
    peer.write(SETTINGS);
    const request = peer.next(({ type }) => type === FRAME.headers);
    request.then(
      ({ streamId }) => {
        if (isFirst) first.resolve(peer);
        else peer.write(headers(streamId, OK, true));
      },
      () => first.reject(new Error('there was no request')),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    first: first.promise,
    async [Symbol.asyncDispose]() {
      for (const peer of peers) peer[Symbol.dispose]();
      server.close();
      await once(server, 'close');
    },
  };
}

async function statusOf(session: http2.ClientHttp2Session): Promise<number | undefined> {
  const request = session.request({ ':path': '/' });
  request.resume();
  const [answer] = await once(request, 'response', { signal: deadline() });
  return answer[':status'];
}

/** `:status 200` and a field of 3,000 bytes, which is then told ten thousand times in a byte each. */
const BOMB = Buffer.concat([
  OK,
  Buffer.from([0x40, 0x01, 0x78, 0x7f, 0xb9, 0x16]),
  Buffer.alloc(3_000, 0x61),
  Buffer.alloc(10_000, 0xbe),
]);
const times = (count: number, one: Buffer): Buffer => Buffer.concat(Array(count).fill(one));

const ABUSES: readonly (readonly [string, number, Buffer])[] = [
  [
    'floods pings (CVE-2019-9512)',
    ERROR.enhanceYourCalm,
    times(20_000, frame(FRAME.ping, 0, 0, Buffer.alloc(8))),
  ],
  ['floods settings (CVE-2019-9515)', ERROR.enhanceYourCalm, times(5_000, SETTINGS)],
  [
    'floods empty data (CVE-2019-9518)',
    ERROR.enhanceYourCalm,
    Buffer.concat([headers(1, OK), times(20_000, frame(FRAME.data, 0, 1))]),
  ],
  [
    'floods priorities (CVE-2019-9513)',
    ERROR.enhanceYourCalm,
    times(20_000, frame(FRAME.priority, 0, 1, Buffer.from([0, 0, 0, 3, 1]))),
  ],
  [
    'sends a head without end (CVE-2024-27919, CVE-2024-30255)',
    ERROR.enhanceYourCalm,
    Buffer.concat([
      frame(FRAME.headers, 0, 1, OK),
      times(200, frame(FRAME.continuation, 0, 1, field('x', 'y'.repeat(100)))),
    ]),
  ],
  [
    'sends what is no HPACK',
    ERROR.compression,
    headers(1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
  ],
  [
    'pushes',
    ERROR.protocol,
    frame(
      FRAME.pushPromise,
      FLAG.endHeaders,
      1,
      Buffer.concat([uint32(2), Buffer.from([0x82, 0x86, 0x84])]),
    ),
  ],
  [
    'opens the connection’s window beyond its limit',
    ERROR.flowControl,
    frame(FRAME.windowUpdate, 0, 0, uint32(2 ** 31 - 1)),
  ],
  ['answers what nobody has asked', ERROR.protocol, headers(99, OK)],
  [
    'sends settings of a length that none have',
    ERROR.frameSize,
    frame(FRAME.settings, 0, 0, Buffer.alloc(5)),
  ],
];

for (const [what, code, bytes] of ABUSES) {
  test(`a server that ${what} loses its connection, and the next request has another`, async () => {
    await using server = await serve();
    await using rig = await createRig(server.port);
    const session = http2.connect(`http://127.0.0.1:${rig.port}`);
    try {
      const request = session.request({ ':path': '/' });
      request.on('error', () => undefined);
      request.resume();
      const closed = new Promise((resolve) => request.once('close', resolve));
      const peer = await server.first;
      peer.write(bytes);
      const goaway = await peer.next(({ type }) => type === FRAME.goaway);
      assert.equal(goaway.payload.readUInt32BE(4), code);
      await closed;
      assert.notEqual(rig.completions[0]?.reasonCode, '', 'the caller is told');
      assert.equal(await statusOf(session), 200);
    } finally {
      session.destroy();
    }
  });
}

test('an answer that tells one long field ten thousand times in a byte each is 502, and the connection goes on (CVE-2016-6581)', async () => {
  await using server = await serve();
  await using rig = await createRig(server.port);
  const session = http2.connect(`http://127.0.0.1:${rig.port}`);
  try {
    const first = statusOf(session);
    const peer = await server.first;
    peer.write(headers(1, BOMB, true));
    assert.equal(await first, 502);
    assert.equal(rig.completions[0]?.reasonCode, 'upstream-head-too-large');
    const second = statusOf(session);
    await peer.next(({ type, streamId }) => type === FRAME.headers && streamId === 3);
    /** The table has kept in step. */
    peer.write(headers(3, Buffer.concat([OK, Buffer.from([0xbe])]), true));
    assert.equal(await second, 200);
  } finally {
    session.destroy();
  }
});
