// Becomes another program that the kernel ends as soon as whoever started this has ended, however that was.

/** Linux, <linux/prctl.h>. */
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/**
 * An agent that is killed with -9 can end nothing itself. The kernel does: the request outlives the change into the
 * program, and so does the parent's death, if it came before the request.
 * @throws Error where there is no such request (not Linux), or the parent is gone.
 */
export async function becomeGuarded(
  parent: string,
  program: string,
  args: readonly string[],
): Promise<void> {
  const { default: koffi } = await import('koffi');
  const prctl = koffi
    .load(null)
    .func(
      'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
    );
  const status: unknown = prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (status !== 0) throw new Error(`Cannot guard ${program}: the kernel refuses to watch`);
  if (String(process.ppid) !== parent)
    throw new Error(`Cannot guard ${program}: whoever asked for it is gone`);
  if (process.execve === undefined) throw new Error('Cannot guard: this Node cannot change');
  process.execve(program, [program, ...args], process.env);
}
