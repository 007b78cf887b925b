// External authorizers for tests: one over HTTP, one over gRPC, which remember what they were told and rule as they are told to.
import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { serviceDefinition } from '@weft/xds/registry';

export interface TestAuthorizer<T> extends AsyncDisposable {
  readonly address: string;
  /** What it was asked, oldest first. */
  readonly asked: readonly T[];
}

export interface HttpAsked {
  readonly method: string;
  readonly path: string;
  /** Every value for itself. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
}

export async function startHttpAuthorizer(
  rule: (asked: HttpAsked, response: ServerResponse) => void,
): Promise<TestAuthorizer<HttpAsked>> {
  const asked: HttpAsked[] = [];
  const server = http.createServer((request, response) => {
    const one = readAsked(request);
    asked.push(one);
    rule(one, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function readAsked({ method = '', url = '', rawHeaders }: IncomingMessage): HttpAsked {
  const headers = new Map<string, string[]>();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? '').toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), rawHeaders[at + 1] ?? '']);
  }
  return { method, path: url, headers };
}

export interface GrpcAsked {
  readonly attributes: {
    readonly source: { readonly principal: string };
    readonly request: {
      readonly http: {
        readonly method: string;
        readonly path: string;
        readonly headers: Readonly<Record<string, string>>;
      };
    };
  };
}

const SERVICE = 'envoy.service.auth.v3.Authorization';

/** @param rule gives the CheckResponse, or an error to fail with. */
export async function startGrpcAuthorizer(
  rule: (asked: GrpcAsked) => object | grpc.ServiceError,
): Promise<TestAuthorizer<GrpcAsked>> {
  const asked: GrpcAsked[] = [];
  const server = new grpc.Server();
  server.addService(serviceDefinition(SERVICE), {
    Check: (
      call: grpc.ServerUnaryCall<GrpcAsked, object>,
      callback: grpc.sendUnaryData<object>,
    ) => {
      asked.push(call.request);
      const said = rule(call.request);
      if ('code' in said && 'details' in said) callback(said);
      else callback(null, said);
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  };
}
