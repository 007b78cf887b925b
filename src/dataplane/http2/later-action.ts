// What becomes of a request about which something had to be asked first: what was decided, if it still holds by then.
import { CHANGED, type Http2Action, UNDECIDED } from './http2-contract.ts';

/** Never rejects. @param isStillAllowed asked where it is to go on: the rules may have changed meanwhile. */
export async function settleAction(
  pending: Promise<Http2Action>,
  isStillAllowed: () => boolean | Promise<boolean>,
): Promise<Http2Action> {
  try {
    const action = await pending;
    return action.kind === 'respond' || (await isStillAllowed()) ? action : CHANGED;
  } catch {
    return UNDECIDED;
  }
}
