"""Ask the gate from a hook of a coding agent or of git."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from isosmoke.cli import silence_broken_streams
from isosmoke.hooks import claude_code, gate_question, git_push, hook_reply
from isosmoke.hooks.gate_question import GateQuestion
from isosmoke.hooks.hook_reply import HookReply
from isosmoke.host.caller_process import Caller

_DEADLINE_SECONDS = 50.0
"""The default deadline: less than 60 s, the shortest default timeout of an agent's hooks."""

_GENERIC_BLOCK = 2

_Function = TypeVar("_Function", bound=Callable[..., Any])


@click.group()
def command() -> None:
    """Run the gate as a hook: only an open gate lets the caller go on.

    Everything else blocks, including a crash and a missed deadline. A hook runs nothing from a
    repository that you have not trusted (`isosmoke trust`).
    """


def _task_option(function: _Function) -> _Function:
    return click.option(
        "--task",
        envvar="WG_TASK_ID",
        default="",
        metavar="TASK",
        help="Gate this task.  [default: $WG_TASK_ID, else all scenarios]",
    )(function)


def _deadline_option(default: float | None) -> Callable[[_Function], _Function]:
    def decorate(function: _Function) -> _Function:
        return click.option(
            "--deadline",
            type=click.FloatRange(min=0, min_open=True),
            default=default,
            show_default=default is not None,
            metavar="SECONDS",
            help="Block if there is no verdict after this time.",
        )(function)

    return decorate


@command.command()
@_task_option
@_deadline_option(_DEADLINE_SECONDS)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=claude_code.DEFAULT_RETRIES,
    show_default=True,
    help="Block this many times in a row; then let the agent stop, and record a bypass.",
)
def claude_stop(*, task: str, deadline: float, retries: int) -> None:
    """Let Claude Code stop only if the gate opens (hook event Stop).

    \b
    Exit codes: 0 the agent may stop · 2 it must continue, for the reason on stderr
    """  # noqa: D301 - click's marker for an unwrapped paragraph

    def answer() -> HookReply:
        text = hook_reply.read_input()
        return claude_code.answer_stop(text, Caller.current(), task=task.strip(), retries=retries)

    _reply(hook_reply.decide(answer, block=claude_code.BLOCK, seconds=deadline))


@command.command()
@_deadline_option(_DEADLINE_SECONDS)
def claude_pre_tool(*, deadline: float) -> None:
    """Refuse a bare `wg done` in a tool call of Claude Code (hook event PreToolUse).

    \b
    Exit codes: 0 no objection · 2 the tool is not called, for the reason on stderr
    """  # noqa: D301 - click's marker for an unwrapped paragraph

    def answer() -> HookReply:
        return claude_code.answer_pre_tool(hook_reply.read_input())

    _reply(hook_reply.decide(answer, block=claude_code.BLOCK, seconds=deadline))


@command.command()
@_task_option
@_deadline_option(None)
@click.argument("remote", nargs=-1)
def git_pre_push(*, task: str, deadline: float | None, remote: tuple[str, ...]) -> None:
    """Let git push only if the gate opens for the commit that is pushed (hook pre-push).

    REMOTE is the name and the URL of the remote, as git passes them.

    \b
    Exit codes: 0 the push goes on · 1 it is aborted
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    del remote  # every remote is gated

    def answer() -> HookReply:
        return git_push.answer_push(hook_reply.read_input(), Caller.current(), task=task.strip())

    _reply(hook_reply.decide(answer, block=git_push.BLOCK, seconds=deadline))


@command.command()
@_task_option
@_deadline_option(_DEADLINE_SECONDS)
def generic(*, task: str, deadline: float) -> None:
    """Let any other caller go on only if the gate opens; stdin is not read.

    \b
    Exit codes: 0 the gate is open · 2 anything else
    """  # noqa: D301 - click's marker for an unwrapped paragraph

    def answer() -> HookReply:
        caller = Caller.current()
        question = GateQuestion(
            directory=caller.working,
            environment=caller.environment,
            label="hook",
            task=task.strip(),
        )
        verdict = gate_question.ask(question)
        lines = gate_question.explain(verdict)
        if not verdict.is_open:
            return hook_reply.refuse(_GENERIC_BLOCK, lines)
        return HookReply(code=0, stderr="".join(f"{line}\n" for line in lines))

    _reply(hook_reply.decide(answer, block=_GENERIC_BLOCK, seconds=deadline))


def _reply(reply: HookReply) -> NoReturn:
    """Print a reply and exit with its code, even if the reply cannot be printed."""
    try:
        click.echo(reply.stderr, err=True, nl=False)
        click.echo(reply.stdout, nl=False)
    except OSError:
        pass
    finally:
        silence_broken_streams()
    sys.exit(reply.code)
