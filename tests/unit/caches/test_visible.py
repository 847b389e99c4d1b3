"""The caches that a sandbox shows: an allow-list of directories, without tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.caches import kept, visible
from isosmoke.caches.catalog import CATALOG
from isosmoke.caches.visible import Caches, find_caches, mask_tokens
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.interrupt import Interrupt
from isosmoke.redaction import Redactor, Secret
from isosmoke.sandbox.spec import CACHES, CopyOnWrite, ReadOnly, SandboxSpec


@dataclass(slots=True)
class Home:
    """A caller's HOME with files of tools in it."""

    path: Path
    variables: dict[str, str] = field(default_factory=dict)
    interrupt: Interrupt = field(default_factory=Interrupt)

    def write(self, name: str, content: str = "data") -> Path:
        """Write a file below HOME."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    @property
    def caller(self) -> Caller:
        """The caller whose HOME this is."""
        return Caller(
            uid=1,
            gid=1,
            user="me",
            home=self.path,
            working=self.path / "project",
            environment=self.variables,
        )

    def keep(self, upper: Path, target: PurePosixPath, *secrets: Secret) -> tuple[str, ...]:
        """Keep the additions to one cache for the project, and return the notes."""
        mounts = (CopyOnWrite(self.path, at=target, is_cache=True),)
        spec = SandboxSpec(label="one", image="host", mounts=mounts, uid=1, gid=1, network="host")
        project = self.path / "project"
        return self.keep_all(spec, {target: upper}, project, *secrets)

    def keep_all(
        self,
        spec: SandboxSpec,
        changes: Mapping[PurePosixPath, Path],
        project: Path,
        *secrets: Secret,
    ) -> tuple[str, ...]:
        """Keep the additions to all caches of a sandbox, and return the notes."""
        return kept.keep_additions(
            spec,
            changes,
            project,
            caller=self.caller,
            redactor=Redactor(secrets),
            interrupt=self.interrupt,
        )

    def find(self, *names: str, additions: Path | None = None, creates: bool = False) -> Caches:
        """Return the caches of these tools, by default of all."""
        workspace = Workspace((self.path / "project",), (), self.path / "project")
        return find_caches(names or CACHES, self.caller, workspace, additions, creates=creates)

    def read(self, file: Path) -> str | None:
        """Return what a sandbox shows at a path; None if it shows nothing there."""
        covering = [mount for mount in self.find().mounts if file.is_relative_to(mount.target)]
        if not covering:
            return None
        mount = max(covering, key=lambda mount: len(mount.target.parts))
        assert isinstance(mount, CopyOnWrite | ReadOnly)
        return (mount.source / file.relative_to(mount.target)).read_text()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a HOME with a project; isosmoke's state is elsewhere."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    (tmp_path / "home/project").mkdir(parents=True)
    return Home(tmp_path / "home")


def list_targets(caches: Caches) -> list[str]:
    """Return the targets of all copies."""
    return [str(mount.target) for mount in caches.mounts if isinstance(mount, CopyOnWrite)]


def test_catalog_has_every_tool() -> None:
    """The names that a manifest may use are those of the catalog."""
    assert tuple(CATALOG) == CACHES


SHOWN = {
    "cargo": (".cargo/registry/cache/i/a.crate", ".cargo/git/db/a/HEAD"),
    "go": (".cache/go-build/00/a", "go/pkg/mod/cache/download/a"),
    "npm": (".npm/_cacache/content-v2/sha512/00/a",),
    "pnpm": (".local/share/pnpm/store/v3/files/00/a", ".cache/pnpm/metadata/registry/a.json"),
    "yarn": (".cache/yarn/v6/a", ".yarn/berry/cache/a.zip"),
    "pip": (".cache/pip/http-v2/a", ".cache/pip/http/a", ".cache/pip/wheels/a"),
    "uv": (".cache/uv/archive-v0/a", ".cache/uv/simple-v15/pypi/a", ".cache/uv/wheels-v5/pypi/a"),
    "gradle": (".gradle/caches/modules-2/a", ".gradle/wrapper/dists/a"),
    "maven": (".m2/repository/a", ".m2/wrapper/dists/a"),
    "ccache": (".cache/ccache/0/a",),
    "sccache": (".cache/sccache/a",),
}

HIDDEN = (
    *(".cargo/credentials.toml", ".cargo/config.toml", ".gradle/gradle.properties"),
    *(".gradle/init.d/a.gradle", ".m2/settings.xml", ".m2/settings-security.xml", ".npmrc"),
    *(".npm/_logs/a.log", ".yarnrc.yml", ".config/pip/pip.conf", ".config/go/env", ".netrc"),
    *(".local/share/pnpm/rc", ".cache/uv/simple-v15/index/private/a", ".cache/other/token"),
    *(".local/share/keyrings/a", ".config/sccache/config", "go/bin/a"),
)


@pytest.mark.parametrize("tool", CACHES)
def test_caches_of_a_tool_are_shown(home: Home, tool: str) -> None:
    """The cache of a tool is shown at its own path, for this tool only."""
    files = [home.write(name) for name in SHOWN[tool]]

    assert [home.read(file) for file in files] == ["data"] * len(files)
    assert list_targets(home.find(tool)) == list_targets(home.find())
    others = [name for name in CACHES if name != tool]
    assert list_targets(home.find(*others)) == []


@pytest.mark.parametrize("name", HIDDEN)
def test_configuration_next_to_caches_is_hidden(home: Home, name: str) -> None:
    """Configuration, credentials and logs are not shown, though the caches next to them are."""
    for files in SHOWN.values():
        for file in files:
            home.write(file)

    assert home.read(home.write(name, "secret")) is None


def test_configuration_in_a_cache_is_empty(home: Home) -> None:
    """The configuration of ccache is in its cache."""
    home.write(".cache/ccache/0/a")

    assert home.read(home.write(".cache/ccache/ccache.conf", "remote_storage=secret")) == ""


@pytest.mark.parametrize(
    "name",
    [
        ".cargo/registry/index/private-0/config.json",
        ".cargo/registry/index/private-0/.git/config",
        ".cargo/git/db/lib-0/config",
        ".cargo/git/db/lib-0/FETCH_HEAD",
        ".cargo/git/checkouts/lib-0/abc/.git/config",
        "go/pkg/mod/cache/vcs/0/config",
        "go/pkg/mod/cache/vcs/0.info",
        ".npm/_cacache/index-v5/00/11/abc",
        ".cache/yarn/v6/npm-a/node_modules/a/.yarn-metadata.json",
        ".cache/pip/wheels/0/1/2/3/origin.json",
        ".cache/uv/git-v0/db/0/FETCH_HEAD",
        ".m2/repository/org/a/1/a.pom.lastUpdated",
        ".m2/repository/a/1/a.pom.lastUpdated",
        ".m2/repository/org/example/deep/group/lib/1.0/lib-1.0.pom.lastUpdated",
    ],
)
@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@example.org/lib.git",
        "https://hunter2@example.org/lib.git",
        "AUTHORIZATION: basic hunter2 https://example.org/lib",
        "ssh://git:hunter2@example.org/lib.git",
        "https://example.org/lib?a=b&private_token=hunter2",
        "https://example.org/lib?X-Amz-Signature=hunter2&b=c",
    ],
)
def test_token_in_a_url_is_masked(home: Home, name: str, url: str) -> None:
    """The file that records the origin of content has the URL without its token."""
    shown = home.read(home.write(name, f'before "{url}" after'))

    assert shown is not None
    assert shown.startswith('before "')
    assert shown.endswith('" after')
    assert "example.org/lib" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "text",
    [
        rb"https\://me\:hunter2@example.org/.error=",
        rb"https\://example.org/lib?private_token\=hunter2",
        rb"https:\/\/me:hunter2@example.org\/lib",
        rb"https://example.org/lib?a=b\u0026private_token=hunter2",
        b'{"authorization":"hunter2"}',
        rb'"{\"authorization\":\"hunter2\"}"',
        b"Authorization: hunter2\nAccept: text/html",
        b"Authorization: hunter2 \nAccept: text/html",
        b"Authorization: hunter2 other",
        b"Authorization: Bearer hunter2",
        rb"authorization\:hunter2",
    ],
)
def test_other_notation_of_a_token_is_masked(text: bytes) -> None:
    """Properties of Java, escaped JSON and a header without a scheme have tokens as well."""
    masked = mask_tokens(text)

    assert b"hunter2" not in masked
    assert b"isosmoke-masked" in masked
    assert (b"example.org" in masked) == (b"example.org" in text)
    assert (b"Accept: text/html" in masked) == (b"Accept: text/html" in text)


@pytest.mark.parametrize(
    "text",
    [
        b"https://example.org/lib.git?version=1",
        b"https://example.org/@scope/name",
        b"git@example.org:lib.git",
        b'{"dl": "https://example.org/{crate}", "mail": "me@example.org"}',
    ],
)
def test_text_without_a_token_is_unchanged(text: bytes) -> None:
    """An address, a scope and other parameters are no tokens."""
    assert mask_tokens(text) == text


def test_large_file_of_origins_is_empty(home: Home) -> None:
    """A file that is too large to search is shown without content."""
    large = "x" * ((1 << 20) + 1)

    assert home.read(home.write(".cargo/git/db/a/FETCH_HEAD", large)) == ""


def test_cache_with_too_many_origins_is_hidden(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that cannot be searched is not shown, and a note says so."""
    monkeypatch.setattr(visible, "MAX_ORIGINS", 2)
    for number in range(3):
        home.write(f".npm/_cacache/index-v5/0/0/{number}")
    caches = home.find()

    assert caches.mounts == ()
    assert "too many files" in caches.notes[0]


def test_cache_with_too_many_directories_is_hidden(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of directories is limited too if files of any depth are searched."""
    monkeypatch.setattr(visible, "MAX_ORIGINS", 5)
    home.write(".m2/repository/a/b/c/d.pom")
    assert list_targets(home.find("maven")) == [f"{home.path}/.m2/repository"]

    home.write(".m2/repository/a/b/c/d/e/f.pom")
    assert home.find("maven").mounts == ()


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"CARGO_HOME": "{home}/other"}, "other/registry/a"),
        ({"GOCACHE": "{home}/other"}, "other/a"),
        ({"PIP_CACHE_DIR": "{home}/other"}, "other/wheels/a"),
        ({"CCACHE_DIR": "{home}/other"}, "other/0/a"),
    ],
)
def test_cache_is_where_its_variable_says(
    home: Home, variables: Mapping[str, str], name: str
) -> None:
    """A variable of the tool moves its cache, and is passed."""
    home.variables = {key: value.format(home=home.path) for key, value in variables.items()}

    assert home.read(home.write(name)) == "data"
    assert home.find().variables == home.variables


def test_cache_is_in_the_directory_of_caches(home: Home) -> None:
    """Two variables move caches of several tools, and each tool has its own variable."""
    home.variables = {"XDG_CACHE_HOME": f"{home.path}/xdg", "GOPATH": f"{home.path}/gopath"}
    files = [home.write("xdg/go-build/a"), home.write("gopath/pkg/mod/a")]

    assert [home.read(file) for file in files] == ["data", "data"]
    assert home.find().variables == {
        "GOCACHE": f"{home.path}/xdg/go-build",
        "GOMODCACHE": f"{home.path}/gopath/pkg/mod",
    }


def test_cache_in_the_workspace_is_part_of_it(home: Home) -> None:
    """A cache in the project, or one that is HOME itself, is not mounted again."""
    home.write("project/cache/a")
    for directory in (f"{home.path}/project/cache", str(home.path)):
        home.variables = {"GOCACHE": directory}
        assert home.find("go").mounts == ()


def test_cache_behind_a_link_is_shown_at_its_own_path(home: Home, tmp_path: Path) -> None:
    """A tool finds the cache under the name that it knows."""
    (tmp_path / "disk/registry").mkdir(parents=True)
    (home.path / ".cargo").symlink_to(tmp_path / "disk")
    (mount,) = home.find().mounts

    assert mount == CopyOnWrite(
        tmp_path / "disk/registry", at=PurePosixPath(home.path / ".cargo/registry"), is_cache=True
    )


def test_additions_are_shown_and_are_not_the_users(home: Home, tmp_path: Path) -> None:
    """The additions of a run are kept apart from the user's cache, and cover it in a later run."""
    cache = home.write(".cargo/registry/a")
    target = PurePosixPath(cache.parent)
    upper = tmp_path / "upper"
    (upper / "deep").mkdir(parents=True)
    (upper / "deep/new").write_text("added")
    (upper / "link").symlink_to("/etc")
    spec = SandboxSpec(
        label="one", image="host", mounts=home.find().mounts, uid=1, gid=1, network="host"
    )
    project = home.path / "project"

    assert home.keep_all(spec, {target: upper}, project) == ()
    (mount,) = home.find(additions=kept.get_directory(project)).mounts
    assert isinstance(mount, CopyOnWrite)
    assert mount.above is not None
    assert [path.name for path in sorted(mount.above.rglob("*"))] == ["deep", "new"]
    assert (mount.above / "deep/new").read_text() == "added"
    assert [path.name for path in cache.parent.iterdir()] == ["a"]
    assert home.find(additions=kept.get_directory(tmp_path)).mounts != (mount,)


def test_additions_in_memory_are_not_kept(home: Home) -> None:
    """A note names the cache whose changes the engine does not have on disk."""
    home.write(".cargo/registry/a")
    spec = SandboxSpec(
        label="one", image="host", mounts=home.find().mounts, uid=1, gid=1, network="host"
    )
    (note,) = home.keep_all(spec, {}, home.path)

    assert f"{home.path}/.cargo/registry" in note


@pytest.fixture
def additions(home: Home, tmp_path: Path) -> tuple[Path, PurePosixPath]:
    """Return a directory for additions to the cache of cargo, and the path of that cache."""
    (tmp_path / "upper").mkdir()
    return tmp_path / "upper", PurePosixPath(home.path / ".cargo/registry")


def list_kept(home: Home) -> dict[str, int]:
    """Return the name and the size of each file that is kept for the project."""
    directory = kept.get_directory(home.path / "project")
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path.name: path.stat().st_size for path in files}


def test_kept_caches_have_a_maximum_size(
    home: Home, additions: tuple[Path, PurePosixPath], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Additions that exceed it, together with earlier ones, are not kept; a note has the remedy."""
    monkeypatch.setattr(kept, "MAX_KEPT", 1000)
    upper, _ = additions
    (upper / "a").write_bytes(b"a" * 600)
    assert home.keep(*additions) == ()
    (upper / "a").rename(upper / "b")

    (note,) = home.keep(*additions)

    assert "would exceed" in note
    assert f"rm -r {kept.get_directory(home.path / 'project')}" in note
    assert list_kept(home) == {"a": 600}


def test_files_that_are_kept_already_need_no_more_room(
    home: Home, additions: tuple[Path, PurePosixPath], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine may report what earlier runs kept as a change of its sandbox (Podman does)."""
    monkeypatch.setattr(kept, "MAX_KEPT", 1000)
    upper, _ = additions
    (upper / "a").write_bytes(b"a" * 600)

    assert home.keep(*additions) == ()
    assert home.keep(*additions) == ()

    (upper / "a").write_bytes(b"b" * 300)
    assert home.keep(*additions) == ()
    assert list_kept(home) == {"a": 300}


def test_interrupt_keeps_no_more(home: Home, additions: tuple[Path, PurePosixPath]) -> None:
    """The note says so, and no incomplete file remains."""
    (additions[0] / "a").write_bytes(b"a")
    home.interrupt.raise_for("SIGINT")

    (note,) = home.keep(*additions)

    assert note.endswith("is not kept: interrupted")
    assert list_kept(home) == {}


def test_holes_of_additions_are_kept(home: Home, additions: tuple[Path, PurePosixPath]) -> None:
    """A file that is mostly empty needs as little space as before."""
    with (additions[0] / "a").open("wb") as file:
        file.write(b"begin")
        file.truncate(100 << 20)

    assert home.keep(*additions) == ()
    (copy,) = kept.get_directory(home.path / "project").rglob("a")
    assert copy.stat().st_size == 100 << 20
    assert copy.stat().st_blocks * 512 < 10 << 20
    with copy.open("rb") as file:
        assert file.read(8) == b"begin\0\0\0"


def test_missing_caches_are_created_on_request(home: Home) -> None:
    """A command whose additions are kept has each cache, empty at first."""
    assert home.find().mounts == ()
    assert f"{home.path}/.cargo/registry" in list_targets(home.find(creates=True))


@pytest.mark.parametrize(
    ("cache", "name"),
    [
        (".cargo/git", "db/x/config"),
        (".m2/repository", "org/example/deep/lib/1/a.lastUpdated"),
        (".cache/uv/git-v0", "db/0/FETCH_HEAD"),
    ],
)
def test_tokens_in_additions_are_masked(home: Home, tmp_path: Path, cache: str, name: str) -> None:
    """A file that records an origin is kept without its tokens, even if no secret is known."""
    target = PurePosixPath(home.path / cache)
    upper = tmp_path / "upper"
    (upper / name).parent.mkdir(parents=True)
    (upper / name).write_text("url = https://me:hunter2@example.org/lib.git")
    large = (upper / name).parent / "large"
    large.write_bytes(bytes(3 << 20) + b"end")

    assert home.keep(upper, target) == ()
    stored = visible.locate_kept(kept.get_directory(home.path / "project"), target)
    assert (stored / name).read_text() == "url = https://isosmoke-masked@example.org/lib.git"
    assert (stored / large.relative_to(upper)).read_bytes() == large.read_bytes()


def test_configuration_in_additions_is_left_out(home: Home, tmp_path: Path) -> None:
    """A hidden file, and a file of origins that is too large to search, are not kept."""
    ccache, cargo = (PurePosixPath(home.path / name) for name in (".cache/ccache", ".cargo/git"))
    upper = tmp_path / "upper"
    (upper / "db/x").mkdir(parents=True)
    (upper / "ccache.conf").write_text("remote_storage=secret")
    (upper / "db/x/config").write_text("x" * ((1 << 20) + 1))

    assert home.keep(upper, ccache) == home.keep(upper, cargo) == ()
    directory = kept.get_directory(home.path / "project")
    assert not (visible.locate_kept(directory, ccache) / "ccache.conf").exists()
    assert (visible.locate_kept(directory, cargo) / "ccache.conf").exists()
    assert not (visible.locate_kept(directory, cargo) / "db/x/config").exists()


def test_secrets_of_the_run_are_redacted_in_additions(home: Home, tmp_path: Path) -> None:
    """The value of a passed variable is redacted in any file that is kept."""
    target = PurePosixPath(home.path / ".cargo/registry")
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "log").write_bytes(b"x" * ((1 << 20) - 3) + b"correct-horse" + b"y")

    assert home.keep(upper, target, Secret.of_variable("TOKEN", "correct-horse")) == ()
    stored = visible.locate_kept(kept.get_directory(home.path / "project"), target)
    assert (stored / "log").read_bytes().endswith(b"x[redacted TOKEN]y")


def test_addition_replaces_one_of_another_kind(home: Home, tmp_path: Path) -> None:
    """A file takes the place of a directory that was kept, and a directory that of a file."""
    target = PurePosixPath(home.path / ".cargo/registry")
    for number, (name, other) in enumerate((("a/new", "b"), ("b/new", "a"))):
        upper = tmp_path / str(number)
        (upper / name).parent.mkdir(parents=True)
        (upper / name).write_text(name)
        (upper / other).write_text(other)
        assert home.keep(upper, target) == ()

    stored = visible.locate_kept(kept.get_directory(home.path / "project"), target)
    assert (stored / "b/new").read_text() == "b/new"
    assert (stored / "a").read_text() == "a"
