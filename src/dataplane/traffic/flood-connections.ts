// Takes new connections past the flood guard, before anything is read from them.
import type { Socket } from 'node:net';
import type { Ends, FloodGuard } from './flood-guard.ts';

/**
 * @param accept called at once, later, or never.
 * @param refuse called when the connection has been closed.
 */
export function acceptUnlessFlood(
  floods: FloodGuard,
  of: { readonly socket: Socket; readonly ends: Ends },
  { accept, refuse }: { readonly accept: () => void; readonly refuse: () => void },
): void {
  const { socket, ends } = of;
  const flood = floods.note(ends, 'connections');
  if (flood?.isNew === true) floods.onFlood(flood, ends);
  if (flood === undefined || flood.action === 'log') {
    accept();
    return;
  }
  const turnAway = (): void => {
    socket.on('error', () => undefined);
    socket.destroy();
    refuse();
  };
  if (flood.action === 'drop') {
    turnAway();
    return;
  }
  const onError = (): void => void socket.destroy();
  socket.on('error', onError);
  const isHeld = floods.slow(() => {
    socket.off('error', onError);
    if (!socket.destroyed) accept();
  });
  if (!isHeld) turnAway();
}
