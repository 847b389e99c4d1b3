"""The contracts of the Stop and PreToolUse hooks of Claude Code.

They are documented at https://code.claude.com/docs/en/hooks ("Hook input and output", "Exit code
output", "Stop", "PreToolUse"):

- The input is a JSON object on stdin with `session_id`, `cwd` and `hook_event_name`; that of
  PreToolUse has `tool_name` and `tool_input`, that of Stop has `stop_hook_active`.
- Exit code 2 blocks: the agent continues, or the tool is not called, and stderr is given to the
  agent. With exit code 0, a JSON object on stdout may have a `systemMessage` for the user. Every
  other exit code lets the agent go on, and so does a hook that exceeds its `timeout` (default 600
  seconds; 60 in older releases).
- `stop_hook_active` is true if the agent continues because of a Stop hook. It is false for some
  continuations (issue 54360 of anthropics/claude-code), so blocks are counted here as well.
- After 8 blocks in a row (`CLAUDE_CODE_STOP_HOOK_BLOCK_CAP`), Claude Code lets the agent stop. The
  limit here is lower, so that a stop against the gate is recorded.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.gate import gate_run
from isosmoke.hooks import bare_done, blocked_attempts, gate_question
from isosmoke.hooks.gate_question import GateQuestion
from isosmoke.hooks.hook_reply import HookReply, refuse
from isosmoke.host.caller_process import Caller

BLOCK = 2
"""The exit code that blocks."""

DEFAULT_RETRIES = 5

_CAP = "CLAUDE_CODE_STOP_HOOK_BLOCK_CAP"
_STOP_EVENTS = frozenset({"Stop", "SubagentStop"})
_CODE_FIELDS = ("command", "cmd", "script")


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequest:
    """The wish of an agent to stop; `retries` is the number of blocks before it may."""

    session: str
    caller: Caller
    task: str
    retries: int


def answer_stop(text: str, caller: Caller, *, task: str, retries: int) -> HookReply:
    """Let the agent stop only if the gate opens, or if it has been blocked `retries` times."""
    event = _parse_event(text)
    if event.get("hook_event_name") not in _STOP_EVENTS:
        raise UsageError(
            f"the event is {event.get('hook_event_name')!r}, not Stop",
            hint="use `isosmoke hook claude-stop` as a Stop hook",
        )
    session = event.get("session_id")
    if not isinstance(session, str) or not session:
        raise UsageError("the input has no session_id", hint="use it as a hook of Claude Code")
    return _decide_stop(
        StopRequest(
            session=session,
            caller=replace(caller, working=_find_directory(event, caller)),
            task=task,
            retries=_limit_retries(retries, caller.environment),
        )
    )


def _decide_stop(request: StopRequest) -> HookReply:
    question = GateQuestion(
        directory=request.caller.working,
        environment=request.caller.environment,
        label="claude-stop",
        task=request.task,
    )
    blocks = blocked_attempts.count(request.session)
    # Counted in advance: a hook that is killed has blocked nothing, but has used an attempt.
    blocked_attempts.save(request.session, blocks + 1)
    is_last = blocks >= request.retries
    try:
        answer = gate_question.ask(question)
    except Exception:
        if is_last:
            return _give_up(request, question, ["the gate could not be asked"])
        raise
    if answer.is_open:
        blocked_attempts.save(request.session, 0)
        return HookReply(code=0, stdout=_message(answer.lines))
    if is_last:
        return _give_up(request, question, gate_question.explain(answer))
    return refuse(BLOCK, gate_question.explain(answer))


def _give_up(request: StopRequest, question: GateQuestion, lines: Sequence[str]) -> HookReply:
    """Let the agent stop and record that as a bypass; raise, and so block, if that fails."""
    caller = request.caller
    agent = caller.environment.get("WG_AGENT_ID") or f"claude-code session {request.session}"
    gate_run.record_bypass(question.subject, agent, caller)
    blocked_attempts.save(request.session, 0)
    warning = (
        f"isosmoke: the agent stopped although the gate is shut: it was blocked {request.retries} "
        "times in a row. The bypass is recorded; see `isosmoke audit`."
    )
    return HookReply(code=0, stdout=_message([warning, *lines]), stderr=f"{warning}\n")


def _message(lines: Sequence[str]) -> str:
    return json.dumps({"systemMessage": "\n".join(lines)}) + "\n"


def _limit_retries(retries: int, environment: Mapping[str, str]) -> int:
    """Return the number of blocks, which must be lower than the cap of Claude Code."""
    cap = environment.get(_CAP, "")
    return max(0, min(retries, int(cap) - 1)) if cap.isdecimal() and int(cap) else retries


def answer_pre_tool(text: str) -> HookReply:
    """Refuse a tool call that would run a bare `wg done`; leave any other to Claude Code."""
    event = _parse_event(text)
    values = event.get("tool_input")
    if not isinstance(values, Mapping):
        raise UsageError(
            "the input has no tool_input", hint="use `isosmoke hook claude-pre-tool` for PreToolUse"
        )
    if event.get("tool_name") == "Bash" and not isinstance(values.get("command"), str):
        raise UsageError("the input of Bash has no command", hint="report this to isosmoke")
    for code in _list_code(values):
        if found := bare_done.find_bare_done(code):
            hint = "use `isosmoke done TASK`, which runs the scenarios of the task first"
            return refuse(BLOCK, [found, f"try: {hint}"])
    return HookReply(code=0)


def _list_code(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the shell code of a tool's input; other tools than Bash have it as well."""
    for name in _CODE_FIELDS:
        match values.get(name):
            case str(code):
                yield code
            case [*words] if words and all(isinstance(word, str) for word in words):
                yield shlex.join([*words, *(values.get("args") or [])])


def _parse_event(text: str) -> Mapping[str, Any]:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"the input is not JSON: {error}", hint="use it as a hook of Claude Code"
        ) from error
    if not isinstance(event, dict):
        raise UsageError("the input is not a JSON object", hint="use it as a hook of Claude Code")
    return event


def _find_directory(event: Mapping[str, Any], caller: Caller) -> Path:
    """Return the project: the agent can change its working directory, but not the variable."""
    for named in (caller.environment.get("CLAUDE_PROJECT_DIR"), event.get("cwd")):
        if isinstance(named, str) and named and Path(named).is_dir():
            return Path(named)
    return caller.working
