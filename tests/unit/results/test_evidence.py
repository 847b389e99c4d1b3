"""Evidence as data."""

import pytest

from isosmoke.results import evidence
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.sandbox.processes import Usage

TEXTS: dict[bytes, str | None] = {
    b"": "",
    b"a\nb": "a\nb",
    "Grüße".encode(): "Grüße",
    b"\xff\xfe": "\udcff\udcfe",
    b"text" * 10_000 + b"\0": None,
}


@pytest.mark.parametrize("content", TEXTS)
def test_bytes_are_text_unless_one_is_zero(content: bytes) -> None:
    """What holds a zero byte is no text; whatever else it is can be read."""
    assert evidence.text(content) == TEXTS[content]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/p/.wg/graph.jsonl", True), ("/p/.wg", True), ("/p/x.wg/a", False), ("/p/.wgx", False)],
)
def test_what_belongs_to_wg_lies_in_its_folder(path: str, *, expected: bool) -> None:
    """A folder of wg's is known by its whole name."""
    assert Change(path=path, change="added", kind="file").is_of_wg is expected


def test_parts_are_joined_in_order() -> None:
    """Nothing of any part is lost, and what was left out is added up."""
    first = Change(path="/a", change="added", kind="file")
    second = Change(path="/b", change="removed", kind="file")
    pane = Pane(server="/s", name="main:0.0", pid=2, lines=("$",))
    used = Usage(1.0, 2.0, 3)

    assert evidence.joined(
        Evidence(changes=(first,), changes_left_out=2, missing=("one",)),
        Evidence(panes=(pane,), peaks={"memory": 1}),
        Evidence(usage=used, peaks={"processes": 2}),
        Evidence(changes=(second,), changes_left_out=3, missing=("two",)),
    ) == Evidence(
        changes=(first, second),
        changes_left_out=5,
        panes=(pane,),
        usage=used,
        peaks={"memory": 1, "processes": 2},
        missing=("one", "two"),
    )


def test_no_text_tells_a_secret() -> None:
    """Every text passes by whoever replaces secrets: paths, contents, panes, complaints."""
    told = Evidence(
        changes=(
            Change(path="/hush", change="added", kind="link", text="to hush"),
            Change(path="/hush", change="removed", kind="file"),
        ),
        panes=(Pane(server="/hush", name="hush:0.0", pid=2, lines=("$ echo hush", "hush")),),
        missing=("/hush: why",),
    ).told_by(lambda words: words.replace("hush", "***"))

    assert "hush" not in repr(told)
    assert [one.text for one in told.changes] == ["to ***", None]
    assert told.panes[0].lines == ("$ echo ***", "***")
