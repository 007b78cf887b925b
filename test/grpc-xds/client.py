# A gRPC client as anybody writes one with grpcio, with its configuration by xds:///: it makes the calls that it is told on
# standard input, and says a JSON object a line.
import json
import sys
import threading
import time

import grpc
import grpc.experimental

lock = threading.Lock()
channels = {}


def say(value):
    with lock:
        print(json.dumps(value), flush=True)


def encode(text):
    return b"" if text == "" else bytes([10, len(text)]) + text.encode()


def decode(data):
    return data[2:].decode()


def dial(target):
    fallback = grpc.experimental.insecure_channel_credentials()
    return grpc.secure_channel(target, grpc.xds_channel_credentials(fallback))


def channel_to(target):
    with lock:
        if target not in channels:
            channels[target] = dial(target)
        return channels[target]


def run(order):
    fresh = order.get("fresh", False)
    channel = dial(order["target"]) if fresh else channel_to(order["target"])
    method = channel.unary_unary(order["method"], encode, decode)
    headers = list(order.get("headers", {}).items())
    codes, values, message = [], [], ""
    begun = time.monotonic()
    for _ in range(order.get("count", 1)):
        try:
            reply = method(
                order["value"],
                timeout=order["timeMs"] / 1000,
                metadata=headers,
                wait_for_ready=order.get("waits", False),
            )
            codes.append("OK")
            values.append(reply)
        except grpc.RpcError as error:
            codes.append(error.code().name)
            values.append("")
            message = error.details()
    if fresh:
        channel.close()
    took = round((time.monotonic() - begun) * 1000)
    say({"id": order["id"], "codes": codes, "values": values, "message": message, "tookMs": took})


say({"ready": True})
for line in sys.stdin:
    threading.Thread(target=run, args=[json.loads(line)], daemon=True).start()
