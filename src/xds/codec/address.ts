// Socket addresses on the wire: numeric ones, over TCP.
import { formatIp, parseIp } from '@weft/model/ip';
import type { PlainMessage } from '../registry.ts';
import type { SocketAddress } from '../resources/listener.ts';
import { integer, type Read, report, requiredMessage, requiredText, shown } from './fields.ts';
import { MAX_PORT } from './request-match.ts';

export const encodeAddress = ({ address, port }: SocketAddress): PlainMessage => ({
  socket_address: { address, port_value: port },
});

/** The address in canonical text. Names are a problem: nothing here resolves them. */
export const readAddress: Read<SocketAddress> = (fields) =>
  requiredMessage(fields, 'socket_address', (socket) => {
    const text = requiredText(socket, 'address');
    const ip = parseIp(text);
    if (!socket.byName.has('port_value')) report(socket, 'port_value', 'missing', 'is missing');
    const port = integer(socket, 'port_value', MAX_PORT);
    if (ip === undefined)
      return report(socket, 'address', 'out-of-range', `is ${shown(text)}, not an IP address`);
    return { address: formatIp(ip), port };
  });
