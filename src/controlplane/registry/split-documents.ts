// Where the documents of a YAML stream begin and end: decided by lines alone, so that no document can swallow the next.

export interface DocumentText {
  readonly text: string;
  /** Lines of the file before this text. */
  readonly linesBefore: number;
}

export interface DocumentTexts {
  readonly documents: readonly DocumentText[];
  /** Whether there were more than the limit. */
  readonly isCut: boolean;
}

/**
 * YAML 1.2 §9.1.2: `---` and `...` at the start of a line end what stands before them wherever they are, in quotes
 * and block texts too. Texts of nothing but blank lines and comments are left out.
 */
export function splitDocuments(text: string, limit: number): DocumentTexts {
  const documents: DocumentText[] = [];
  let start = 0;
  let startLine = 0;
  let line = 0;
  const take = (end: number): boolean => {
    const part = text.slice(start, end);
    if (!hasContent(part)) return true;
    if (documents.length >= limit) return false;
    documents.push({ text: part, linesBefore: startLine });
    return true;
  };
  for (let at = 0; at < text.length; line++) {
    const newline = text.indexOf('\n', at);
    const next = newline === -1 ? text.length : newline + 1;
    const marker = markerAt(text, at);
    if (marker !== undefined) {
      if (!take(at)) return { documents, isCut: true };
      start = marker === 'start' ? at : next;
      startLine = marker === 'start' ? line : line + 1;
    }
    at = next;
  }
  return { documents, isCut: !take(text.length) };
}

function markerAt(text: string, at: number): 'start' | 'end' | undefined {
  const isStart = text.startsWith('---', at);
  if (!isStart && !text.startsWith('...', at)) return undefined;
  const after = text.charAt(at + 3);
  if (after !== '' && !' \t\r\n'.includes(after)) return undefined;
  return isStart ? 'start' : 'end';
}

function hasContent(part: string): boolean {
  let at = markerAt(part, 0) === 'start' ? 3 : 0;
  while (at < part.length) {
    const newline = part.indexOf('\n', at);
    const next = newline === -1 ? part.length : newline + 1;
    const content = part.slice(at, next).trim();
    if (content !== '' && !content.startsWith('#')) return true;
    at = next;
  }
  return false;
}
