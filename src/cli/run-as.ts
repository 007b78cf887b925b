// Gives up root for another user once nothing needs it any more.

/** Ports are open and files are read: nothing after this needs root. */
export function dropPrivileges(
  user: { readonly uid: number; readonly gid: number } | undefined,
): void {
  if (user === undefined) return;
  if (
    process.setgroups === undefined ||
    process.setgid === undefined ||
    process.setuid === undefined
  ) {
    throw new Error('--run-as: this system has no users to change to');
  }
  process.setgroups([]);
  process.setgid(user.gid);
  process.setuid(user.uid);
}
