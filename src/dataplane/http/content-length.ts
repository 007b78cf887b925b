// The value of `Content-Length`, read one way for both versions of HTTP.

/** `Content-Length` has at most 15 digits, so that it is an exact number. */
const MAX_LENGTH_DIGITS = 15;

/** @returns the length, or -1 when it is not plain digits without a leading zero. */
export function parseContentLength(value: string): number {
  if (value.length === 0 || value.length > MAX_LENGTH_DIGITS) return -1;
  if (value.length > 1 && value.charCodeAt(0) === 0x30) return -1;
  let length = 0;
  for (let at = 0; at < value.length; at++) {
    const digit = value.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length;
}
