// An address and a port as one text.

/** `10.0.0.1:80`, `[::1]:80`. */
export const formatHostPort = ({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
