// Says in words why an address could not be bound, and what to do; gRPC hides what the system said in a text of its own.
export function whyNoPort(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (message.includes('EADDRINUSE')) {
    return 'another process listens there; stop it, or choose another port, or 0 for any';
  }
  if (message.includes('EADDRNOTAVAIL')) return 'this host has no such address';
  if (message.includes('EACCES')) return 'the port needs root; choose one from 1024, or 0 for any';
  return message;
}
