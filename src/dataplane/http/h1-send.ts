// Sends a request's head and the first of its body in one write, where that is cheaper than two.
import type { Socket } from 'node:net';
import { writeRequestHead, type Http1Edits } from './h1-edit.ts';
import type { BodyPart } from './h1-request-body.ts';
import type { Http1RequestHead } from './h1-request.ts';

/** Bodies up to this are put into one string with their head: one write is cheaper than the copy. */
const SMALL_BODY_BYTES = 16_384;

/** @returns whether more may follow at once. */
export function sendRequest(
  socket: Socket,
  request: {
    readonly head: Http1RequestHead;
    readonly edits: Http1Edits;
    readonly upgrade: string;
    readonly first: BodyPart;
  },
): boolean {
  const { bytes, tail } = request.first;
  const text = writeRequestHead(request.head, request.edits, request.upgrade);
  if (bytes === undefined || bytes.length <= SMALL_BODY_BYTES) {
    const small = bytes === undefined ? '' : bytes.toString('latin1');
    return socket.write(text + small + tail, 'latin1');
  }
  socket.cork();
  socket.write(text, 'latin1');
  let isRoomy = socket.write(bytes);
  if (tail !== '') isRoomy = socket.write(tail, 'latin1');
  socket.uncork();
  return isRoomy;
}
