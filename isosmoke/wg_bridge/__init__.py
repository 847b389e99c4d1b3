"""How an unmodified `wg done` is gated: its scenarios, one after another, are served by one run.

    wg done ── timeout ── bash ── shim ── unix socket ── leader ── sandboxes, several at once

- A **mirror** is a manifest for wg: the names and owners of another, and one **shim** as every
  script. Its deadlines bound a whole run; each scenario's own is enforced inside.
- The **shim** asks for the verdict of its own scenario and ends as wg's contract says. The first
  one starts the leader; one that finds it dead, or sees it die, starts another.
- The **leader** runs ahead what the words of `wg done` announce, first what is asked for first.
  What nobody announced runs when it is asked for. A verdict is handed out once: none is reused.
- Everything belongs to one process, the wg that called, known by pid and start time: a private
  folder, named by its lease, holds the socket, and a sweep removes it when that process is gone.
- The leader has a session and files of its own, so nothing keeps wg's pipes open. It ends with wg,
  however that ends (it polls a pidfd), and sandboxes end with it, as they do with any runner.
- `isosmoke done` runs the scenarios first, hands the verdicts to a leader for its own pid, and then
  *becomes* wg by exec. A wg whose `done` asks for no scenario is gated all the same.
"""
