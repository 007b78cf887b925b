// Writes to the terminal: results to standard output, everything else to standard error.

let isGuarded = false;

/** A reader that has enough (`| head`) is no failure; a full disk is one, and no reason for a stack trace. */
function guardOutput(): void {
  if (isGuarded) return;
  isGuarded = true;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    complain(`weft: Cannot write the result: ${error.message}`);
    process.exit(1);
  });
}

export const print = (text: string): void => {
  guardOutput();
  process.stdout.write(`${text}\n`);
};

export const printJson = (value: unknown): void => print(JSON.stringify(value, undefined, 2));

export const complain = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** Columns as wide as their widest cell, two spaces between. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, cell.length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** What is shown below a command's help: lines that can be pasted. */
export const examples = (...lines: readonly string[]): string =>
  `\n${lines.length === 1 ? 'Example' : 'Examples'}:\n${lines.map((line) => `  ${line}\n`).join('')}`;
