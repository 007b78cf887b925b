# A gRPC server as anybody writes one with grpcio, with its configuration by xDS: it answers every method, and says a JSON
# object a line.
import concurrent.futures
import json
import sys

import grpc

listen, name = sys.argv[2], sys.argv[4]


def answer(request, context):
    known = context.peer_identities() or [b""]
    text = name.encode() + b" " + known[0]
    return bytes([10, len(text)]) + text


class Every(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_unary_rpc_method_handler(answer)


server = grpc.server(concurrent.futures.ThreadPoolExecutor(), xds=True)
server.add_generic_rpc_handlers([Every()])
fallback = grpc.insecure_server_credentials()
server.add_secure_port(listen, grpc.xds_server_credentials(fallback))
server.start()
print(json.dumps({"address": listen}), flush=True)
# It serves when its configuration is there, and says that to nobody.
print(json.dumps({"mode": "SERVING"}), flush=True)
server.wait_for_termination()
