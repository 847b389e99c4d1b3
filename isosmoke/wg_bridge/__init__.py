"""Bridge that gates an unmodified `wg done` by serving its scenarios from a single run.

    wg done ── timeout ── bash ── shim ── unix socket ── leader ── sandboxes, several at once

- A **mirror** is a manifest for wg. It has the names and owners of a source manifest, and a single
  **shim** as the script of every scenario. Its deadlines bound a whole run; the deadline of each
  scenario is enforced inside the run.
- The **shim** requests the verdict of its scenario and exits with a code of wg's contract. The
  first shim starts the leader. A shim that finds the leader dead, or sees it die, starts another.
- The **leader** runs in advance the scenarios that the arguments of `wg done` announce, beginning
  with the first one requested. Other scenarios run on request. No verdict is used twice.
- All state belongs to one process, the calling wg, identified by PID and start time. A private
  directory, named after the lease of that process, contains the socket; a sweep removes it later.
- The leader has its own session and files, so it does not keep wg's pipes open. It polls a pidfd
  and exits when wg does, and its sandboxes end with it, as with any runner.
- `isosmoke done` runs the scenarios first, passes the verdicts to a leader for its own PID, and
  then replaces itself with wg by exec. This also gates a wg whose `done` requests no scenario.
"""
