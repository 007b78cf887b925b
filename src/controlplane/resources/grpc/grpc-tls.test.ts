// What a gRPC client is told of mutual TLS: whom it may speak to, and the name by which sidecars know it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeGrpcUpstreamTls } from './grpc-tls.ts';

const WEB = 'spiffe://cluster.local/ns/shop/sa/web';

const bytesOf = (host: string): string =>
  Buffer.from(Object(encodeGrpcUpstreamTls(host, [WEB])).typed_config.value).toString('latin1');

test('encodeGrpcUpstreamTls() names the peer, and a server name that only the mesh has', () => {
  const bytes = bytesOf('web.shop.svc.cluster.local');
  assert.ok(bytes.includes(WEB));
  assert.ok(bytes.includes('web.shop.svc.cluster.local.mesh.weft.dev'));
});

test('encodeGrpcUpstreamTls() says no server name that is too long for one', () => {
  const long = (length: number): string => 'a'.repeat(length - '.mesh.weft.dev'.length);
  assert.ok(bytesOf(long(253)).includes('.mesh.weft.dev'));
  assert.ok(!bytesOf(long(254)).includes('.mesh.weft.dev'));
});

test('encodeGrpcUpstreamTls() throws where nobody is named, for then anybody would do', () => {
  assert.throws(() => encodeGrpcUpstreamTls('web.shop', []), TypeError);
});
