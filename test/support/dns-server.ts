// A DNS server for tests: answers A queries for the names that it is given, says NXDOMAIN for others, and counts.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

export interface DnsServer extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  /** Addresses by name; changed as the test goes on. */
  readonly records: Map<string, readonly string[]>;
  ttlSeconds: number;
  /** Queries for addresses of IPv4, by name. */
  readonly asked: Map<string, number>;
}

const A = 1;

export async function startDnsServer(
  records: Readonly<Record<string, readonly string[]>>,
): Promise<DnsServer> {
  const socket: Socket = createSocket('udp4');
  const server = {
    address: '',
    records: new Map(Object.entries(records)),
    ttlSeconds: 1,
    asked: new Map<string, number>(),
    async [Symbol.asyncDispose]() {
      socket.close();
      await once(socket, 'close');
    },
  };
  socket.on('message', (query, peer) => {
    const { name, type, end } = readQuestion(query);
    if (type === A) server.asked.set(name, (server.asked.get(name) ?? 0) + 1);
    const known = server.records.get(name);
    const addresses = type === A ? (known ?? []) : [];
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(known === undefined ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(addresses.length, 6);
    const answers = addresses.map((address) => {
      const record = Buffer.alloc(16);
      record.writeUInt16BE(0xc00c, 0);
      record.writeUInt16BE(A, 2);
      record.writeUInt16BE(1, 4);
      record.writeUInt32BE(server.ttlSeconds, 6);
      record.writeUInt16BE(4, 10);
      address.split('.').forEach((part, at) => record.writeUInt8(Number(part), 12 + at));
      return record;
    });
    socket.send(
      Buffer.concat([head, query.subarray(12, end), ...answers]),
      peer.port,
      peer.address,
    );
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  server.address = `127.0.0.1:${socket.address().port}`;
  return server;
}

function readQuestion(query: Buffer): {
  readonly name: string;
  readonly type: number;
  readonly end: number;
} {
  const labels: string[] = [];
  let at = 12;
  for (;;) {
    const length = query[at] ?? 0;
    at++;
    if (length === 0) break;
    labels.push(query.toString('latin1', at, at + length));
    at += length;
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at), end: at + 4 };
}
