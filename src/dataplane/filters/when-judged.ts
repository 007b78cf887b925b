// Goes on when a judgement is there: at once, or when its promise is settled; one that fails is a no.

export function whenJudged(
  allowed: boolean | Promise<boolean>,
  goOn: (isAllowed: boolean) => void,
): void {
  if (allowed instanceof Promise) {
    allowed.then(goOn, () => goOn(false));
  } else goOn(allowed);
}
