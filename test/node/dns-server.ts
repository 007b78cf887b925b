// The cluster's resolver: answers over UDP and TCP on an address of this process, to which the node leads port 53.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { type Answer, readQuestion, writeAnswer } from './dns-message.ts';

export interface DnsServer extends AsyncDisposable {
  readonly port: number;
}

export interface DnsServerOptions {
  readonly address: string;
  readonly answer: (name: string, type: number) => Answer;
}

const MAX_TCP_BUFFER_BYTES = 65_537;
const PORT_TRIES = 20;

function replyTo(message: Buffer, answer: DnsServerOptions['answer']): Buffer | undefined {
  const question = readQuestion(message);
  return question === undefined
    ? undefined
    : writeAnswer(question, answer(question.name, question.type));
}

/** RFC 1035 section 4.2.2: two bytes of length before each message. */
function serveStream(socket: Socket, answer: DnsServerOptions['answer']): void {
  let buffer: Buffer = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
      const end = 2 + buffer.readUInt16BE(0);
      const reply = replyTo(buffer.subarray(2, end), answer);
      buffer = buffer.subarray(end);
      if (reply === undefined) return void socket.destroy();
      const length = Buffer.alloc(2);
      length.writeUInt16BE(reply.length);
      socket.write(Buffer.concat([length, reply]));
    }
    if (buffer.length > MAX_TCP_BUFFER_BYTES) socket.destroy();
  });
}

/** One port number for both, as port 53 is. */
export async function startDnsServer({ address, answer }: DnsServerOptions): Promise<DnsServer> {
  for (let tries = 1; ; tries++) {
    const udp = createSocket('udp4');
    udp.on('message', (message, from) => {
      const reply = replyTo(message, answer);
      if (reply !== undefined) udp.send(reply, from.port, from.address);
    });
    udp.bind(0, address);
    await once(udp, 'listening');
    const { port } = udp.address();
    const open = new Set<Socket>();
    const tcp = createServer((socket) => {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      serveStream(socket, answer);
    });
    try {
      tcp.listen(port, address);
      await once(tcp, 'listening');
    } catch (error) {
      udp.close();
      if (tries === PORT_TRIES) throw error;
      continue;
    }
    return {
      port,
      async [Symbol.asyncDispose]() {
        udp.close();
        for (const socket of open) socket.destroy();
        tcp.close();
        await once(tcp, 'close');
      },
    };
  }
}
