// The service by which proxies watch their credentials, and a call of it.
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { PlainMessage } from '@weft/xds/registry';

export const CREDENTIALS_SERVICE = 'weft.credentials.v1.Credentials';

export type WatchCall = ServerDuplexStream<PlainMessage, PlainMessage>;
