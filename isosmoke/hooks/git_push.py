"""The contract of git's pre-push hook.

It is documented in githooks(5), "pre-push" (https://git-scm.com/docs/githooks#_pre_push): stdin has
one line `<local ref> <local object name> <remote ref> <remote object name>` for each ref that is
pushed; the local object name of a deletion is all zeros; any exit code but 0 aborts the push. git
sets no time limit.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from isosmoke.errors import UsageError
from isosmoke.hooks import gate_question
from isosmoke.hooks.gate_question import GateQuestion
from isosmoke.hooks.hook_reply import HookReply, refuse
from isosmoke.host import git
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import git_top
from isosmoke.text import quote_command

BLOCK = 1
"""The exit code that aborts a push."""

_LINE = re.compile(r"\S.* ([0-9a-f]{40}|[0-9a-f]{64}) \S+ ([0-9a-f]{40}|[0-9a-f]{64})")


def answer_push(text: str, caller: Caller, *, task: str) -> HookReply:
    """Let commits be pushed only if they are checked out, and the gate opens for them."""
    pushed = sorted({name for name in _read_names(text) if name.strip("0")})
    if not pushed:
        return HookReply(code=0, stderr="isosmoke: no commit is pushed, so nothing was run\n")
    top = git_top(caller.working)
    if top is None:
        raise UsageError(f"{caller.working} is not in a git repository", "push from a work tree")
    _require_tested(pushed, top, caller)
    question = GateQuestion(
        directory=top, environment=caller.environment, label="pre-push", task=task
    )
    answer = gate_question.ask(question)
    lines = gate_question.explain(answer)
    if not answer.is_open:
        return refuse(BLOCK, lines)
    return HookReply(code=0, stderr="".join(f"{line}\n" for line in lines))


def _read_names(text: str) -> Iterator[str]:
    """Yield the local object name of each line."""
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError(f"{line!r} is not a line of a pre-push hook", "see githooks(5)")
        yield match[1]


def _require_tested(pushed: list[str], top: Path, caller: Caller) -> None:
    """Check that the files that the gate tests are those of every pushed commit.

    Raises:
        UsageError: if they are not.
    """
    checkout = git.read_checkout(top, caller.environment)
    tested = _find_tree(top, "HEAD", caller)
    for name in pushed:
        if _find_tree(top, name, caller) != tested:
            raise UsageError(
                f"{name[:12]} is pushed, but it is not checked out, so it cannot be tested here",
                hint=f"git checkout {name[:12]}, then push again",
            )
    if checkout is not None and (pinned := git.list_pinned(top, caller.environment)):
        # One call with both options would follow only the first (git 2.39).
        clear, show = (
            quote_command(("git", "update-index", option, "--", pinned[0]))
            for option in ("--no-assume-unchanged", "--no-skip-worktree")
        )
        raise UsageError(
            f"git ignores changes of {pinned[0]} in {top}, so the commit cannot be tested here",
            hint=f"{clear} && {show}, then push again",
        )
    if checkout is None or checkout.dirty:
        raise UsageError(
            f"the files in {top} are not those of the pushed commit, so it cannot be tested here",
            hint="commit, stash or ignore what `git status` lists, then push again",
        )


def _find_tree(top: Path, name: str, caller: Caller) -> bytes:
    """Return the tree of a commit or of a tag."""
    verify = ("rev-parse", "--verify", "--end-of-options", f"{name}^{{tree}}")
    return git.run(top, *verify, environment=caller.environment).strip()
