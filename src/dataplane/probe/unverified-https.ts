// The one TLS connection of the sidecar that verifies nobody: a probe over HTTPS, to the application in its own Pod, as the kubelet makes it.
import type { ClientRequest } from 'node:http';
import https, { type RequestOptions } from 'node:https';

/** A probe asks for life, not for a name: nothing secret is sent, and of the answer only its status is used. */
export const unverifiedHttps = (options: RequestOptions): ClientRequest =>
  https.request({ ...options, rejectUnauthorized: false });
