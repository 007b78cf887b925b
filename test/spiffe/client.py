# A workload as SPIFFE's own Python library has it: fetches and watches identities at the socket of SPIFFE_ENDPOINT_SOCKET, and calls over mutual TLS with them.
import json
import os
import socket
import ssl
import sys
import tempfile
import threading

from cryptography.hazmat.primitives import serialization
from spiffe import WorkloadApiClient

LIMIT = 20


def say(value):
    print(json.dumps(value), flush=True)


def describe(context):
    svid = context.default_svid
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    return {
        "spiffeId": str(svid.spiffe_id),
        "serial": format(svid.leaf.serial_number, "x"),
        "roots": len(bundle.x509_authorities),
    }


def pem(certificates):
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def fetch(client):
    said = describe(client.fetch_x509_context(timeout=LIMIT))
    said["bundles"] = len(client.fetch_x509_bundles(timeout=LIMIT).bundles)
    say(said)


def watch(client):
    client.stream_x509_contexts(
        lambda context: say(describe(context)), lambda error: print(error, file=sys.stderr)
    )
    threading.Event().wait()


def call(client, address, server):
    """Python's ssl reads files alone: they are in memory, and gone when it has read them."""
    context = client.fetch_x509_context(timeout=LIMIT)
    svid = context.default_svid
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.load_verify_locations(cadata=pem(bundle.x509_authorities).decode())
    key = svid.private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with tempfile.NamedTemporaryFile(dir=os.environ.get("MEMORY")) as file:
        file.write(key + pem(svid.cert_chain))
        file.flush()
        tls.load_cert_chain(file.name)
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), LIMIT) as plain:
        with tls.wrap_socket(plain) as secure:
            names = [name for kind, name in secure.getpeercert()["subjectAltName"] if kind == "URI"]
            if names != [server]:
                sys.exit(f"the server is {names}")
            secure.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
            answer = b""
            while chunk := secure.recv(4096):
                answer += chunk
    say({"body": answer.decode().split("\r\n\r\n", 1)[1]})


def token(client, audience):
    svid = client.fetch_jwt_svid({audience}, timeout=LIMIT)
    judged = client.validate_jwt_svid(svid.token, audience, timeout=LIMIT)
    bundles = client.fetch_jwt_bundles(timeout=LIMIT)
    say({"token": svid.token, "judged": str(judged.spiffe_id), "bundles": len(bundles.bundles)})


def main(command, *arguments):
    with WorkloadApiClient() as client:
        {"fetch": fetch, "watch": watch, "call": call, "token": token}[command](client, *arguments)


main(*sys.argv[1:])
