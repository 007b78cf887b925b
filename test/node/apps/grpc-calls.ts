// One call by gRPC, by xDS too; apart from the others, for it takes longest to load.
import { Client, credentials } from '@grpc/grpc-js';
import { type Found, TIMEOUT_MS } from './calls.ts';
import { ECHO } from './echo-service.ts';

const keptClients = new Map<string, Client>();

const plain = (target: string): Client => new Client(target, credentials.createInsecure());

function unary(client: Client, text: string): Promise<Found> {
  const { path, requestSerialize, responseDeserialize } = ECHO.unary;
  const deadline = Date.now() + TIMEOUT_MS;
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      text,
      { deadline },
      (error, answer) => {
        if (error === null) resolve({ status: 0, body: answer ?? '', isOk: true });
        else resolve({ status: error.code, body: '', isOk: false, error: error.details });
      },
    );
  });
}

async function andClose(client: Client, text: string): Promise<Found> {
  try {
    return await unary(client, text);
  } finally {
    client.close();
  }
}

/** By a client of its own. */
export const once = (target: string, text: string): Promise<Found> => andClose(plain(target), text);

/** By the client of the call before to the same target, where there was one. */
export function kept(target: string, text: string): Promise<Found> {
  const client = keptClients.get(target) ?? plain(target);
  keptClients.set(target, client);
  return unary(client, text);
}

export async function byXds(target: string, text: string): Promise<Found> {
  const { register, XdsChannelCredentials } = await import('@grpc/grpc-js-xds');
  register();
  const own = new XdsChannelCredentials(credentials.createInsecure());
  return andClose(new Client(target, own), text);
}

export function hangUp(): void {
  for (const client of keptClients.values()) client.close();
  keptClients.clear();
}
