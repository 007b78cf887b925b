// Takes a text of several PEM certificates apart.

const PEM_END = '-----END CERTIFICATE-----';

/** The certificates of a concatenated PEM text, each as its own text. */
export function splitPem(pem: string): readonly string[] {
  return pem
    .split(PEM_END)
    .map((part) => part.trim())
    .filter((part) => part.length > 0)
    .map((part) => `${part}\n${PEM_END}\n`);
}
