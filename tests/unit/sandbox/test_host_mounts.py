"""The image made of the host's folders: what a made-up HOME brings, and what it keeps back."""

import os
import stat
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.sandbox.host_mounts import host_mounts
from isosmoke.sandbox.spec import Fresh, Mount, ReadOnly
from support.fixture_types import Ordinary

NATIVE = "\x7fELF"


def program(path: Path, content: str = NATIVE) -> Path:
    """A program with this content, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)
    return path


def link(path: Path, target: Path | str) -> Path:
    """A symbolic link, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


class Image:
    """What of the files under HOME a sandbox would see."""

    def __init__(self, home: Path, *path: Path | str) -> None:
        words = ":".join(map(str, path))
        self.mounts = host_mounts(f"/usr/bin:{words}:/bin", home, masked=False)
        self._home = home

    def has(self, *paths: Path) -> bool:
        """Whether all of these are seen, under their own names, links followed as in a sandbox."""
        return all(self._seen(path) for path in paths)

    def lacks(self, *paths: Path) -> bool:
        """Whether none of these is seen, by any name."""
        seen = {file.resolve() for file in self._files()}
        return not any(path.resolve() in seen for path in paths)

    def _seen(self, path: Path) -> bool:
        for _ in range(20):
            if not self._mounted(path):
                return False
            source = self._lexical(path)
            if not source.is_symlink() or self._is_mount(path):
                return source.exists()
            path = Path(os.path.normpath(path.parent / source.readlink()))
        return False

    def _mounted(self, path: Path) -> bool:
        return any(path.is_relative_to(one.target) for one in self._own())

    def _is_mount(self, path: Path) -> bool:
        return any(PurePosixPath(path) == one.target for one in self._own())

    def _lexical(self, path: Path) -> Path:
        """The host's file that is seen at `path`: links are followed up to the mount, not below."""
        mount = max(
            (one for one in self._own() if path.is_relative_to(one.target)),
            key=lambda one: len(one.target.parts),
        )
        return mount.source.resolve() / path.relative_to(mount.target)

    def _own(self) -> list[ReadOnly]:
        under = [one for one in self.mounts if isinstance(one, ReadOnly)]
        return [one for one in under if one.source.is_relative_to(self._home)]

    def _files(self) -> list[Path]:
        roots = [one.source for one in self._own()]
        below = [file for root in roots if root.is_dir() for file in root.rglob("*")]
        return [file for file in (*roots, *below) if file.is_file() and not file.is_symlink()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with things in it that must never come along."""
    folder = tmp_path / "home" / "user"
    for secret in SECRETS:
        program(folder / secret, "secret")
    return folder


SECRETS = (
    *(".ssh/id_ed25519", ".netrc", ".aws/credentials", ".config/gh/hosts.yml"),
    *(".local/share/keyrings/login.keyring", ".local/share/wg/token", ".local/state/x/log"),
    *(".cargo/credentials.toml", ".fly/config.yml", ".npmrc", ".bun/config", ".docker/config.json"),
    *("go/secret", ".pyenv/token", "notes.txt"),
)


def secrets(home: Path) -> list[Path]:
    """Everything that must stay out."""
    return [home / one for one in SECRETS]


def test_system_comes_whole_and_read_only(home: Path) -> None:
    """The host's system folders come under their own names, read-only, and HOME does not."""
    mounts = Image(home).mounts
    targets = {str(one.target) for one in mounts}

    assert {"/usr", "/etc"} <= targets
    assert all(isinstance(one, ReadOnly) for one in mounts)
    assert all(str(one.source) == str(one.target) for one in mounts if isinstance(one, ReadOnly))
    assert not any(home.is_relative_to(target) for target in targets)


def test_no_mount_lies_in_another(home: Path) -> None:
    """Each folder is mounted once, and none inside another that has it already."""
    program(home / ".local/bin/a")
    program(home / ".local/lib/b")
    targets = [one.target for one in Image(home, home / ".local/bin").mounts]

    for one in targets:
        assert not any(one != other and one.is_relative_to(other) for other in targets)
    assert len(targets) == len(set(targets))


def test_home_without_tools_brings_nothing(home: Path) -> None:
    """With nothing of HOME on PATH, nothing of HOME is seen."""
    program(home / ".local/bin/tool")

    assert Image(home).lacks(home / ".local/bin/tool", *secrets(home))


@pytest.mark.parametrize("up", [0, 1, 2])
def test_home_itself_on_path_brings_nothing(home: Path, up: int) -> None:
    """HOME or a folder above it on PATH would bring everything, so it brings nothing."""
    image = Image(home, (home, *home.parents)[up])

    assert image.lacks(*secrets(home))


def test_home_behind_a_link_brings_nothing(home: Path) -> None:
    """HOME is HOME by every name that it has."""
    other = link(home.parent / "other", home)

    assert Image(home, other).lacks(*secrets(home))
    assert Image(other, home).lacks(*secrets(home))


@pytest.mark.parametrize("word", ["", ".", "bin", "~/.local/bin", "/gone/bin"])
def test_odd_words_of_path_bring_nothing(
    home: Path, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative, empty and missing folders on PATH are passed over."""
    program(home / "bin/tool")
    monkeypatch.chdir(home)

    assert Image(home, word).lacks(home / "bin/tool", *secrets(home))


def test_linked_tool_brings_its_target_without_its_neighbours(home: Path) -> None:
    """A link in ~/.local/bin brings the program it leads to, and no keyring that lies near it."""
    share = home / ".local/share"
    version = program(share / "claude/versions/1.2.3")
    tool = link(home / ".local/bin/claude", version)
    image = Image(home, home / ".local/bin")

    assert image.has(tool, version)
    assert image.lacks(*secrets(home))


def test_tool_behind_a_moving_link_is_found(home: Path) -> None:
    """A link that leads through another link, as to a current version, works in the sandbox."""
    share = home / ".local/share/node"
    real = program(share / "versions/20/bin/node")
    library = program(share / "versions/20/lib/libnode.so")
    link(share / "current", "versions/20")
    tool = link(home / ".local/bin/node", share / "current/bin/node")
    image = Image(home, home / ".local/bin")

    assert image.has(tool, real, library)
    assert image.has(share / "current/bin/node")
    assert image.lacks(*secrets(home))


def test_uv_tool_brings_its_environment_and_its_python(home: Path) -> None:
    """A script whose interpreter is in a virtual environment brings that, and the real Python."""
    share = home / ".local/share/uv"
    python = program(share / "python/cpython-3.12/bin/python3.12")
    library = program(share / "python/cpython-3.12/lib/libpython3.12.so")
    tool = share / "tools/thing"
    program(tool / "pyvenv.cfg")
    program(tool / "lib/thing.py")
    link(tool / "bin/python", python)
    script = program(tool / "bin/thing", f"#!{tool}/bin/python\nimport thing\n")
    on_path = link(home / ".local/bin/thing", script)
    image = Image(home, home / ".local/bin")

    assert image.has(
        on_path, script, tool / "bin/python", tool / "pyvenv.cfg", tool / "lib/thing.py"
    )
    assert image.has(python, library)
    assert image.lacks(*secrets(home))


def test_script_with_a_shebang_into_an_environment_brings_it(home: Path) -> None:
    """A script that lies on PATH itself brings the environment that its first line names."""
    environment = home / "projects/thing/.venv"
    python = program(environment / "bin/python3")
    program(environment / "pyvenv.cfg")
    script = program(home / "bin/thing", f"#! {python} -I\n")
    image = Image(home, home / "bin")

    assert image.has(script, python, environment / "pyvenv.cfg")
    assert image.lacks(*secrets(home))


@pytest.mark.parametrize(
    "line",
    [
        *("#!/usr/bin/env python3", "#!", "#! ", "#!relative/python", "#!/gone/python", ""),
        *("#!/" + "x" * 300, "\0\0\udcff"),
    ],
)
def test_script_with_any_first_line_is_no_error(home: Path, line: str) -> None:
    """A first line that names nothing of HOME, or nothing at all, brings nothing more."""
    script = home / "bin/thing"
    script.parent.mkdir()
    script.write_bytes(line.encode(errors="surrogateescape") + b"\n")
    image = Image(home, home / "bin")

    assert image.has(script)
    assert image.lacks(*secrets(home))


def test_nvm_brings_node_and_its_modules(home: Path) -> None:
    """A version of node on PATH comes with the modules that its programs are links into."""
    prefix = home / ".nvm/versions/node/v20"
    node = program(prefix / "bin/node")
    module = program(prefix / "lib/node_modules/npm/bin/npm-cli.js", "#!/usr/bin/env node\n")
    npm = link(prefix / "bin/npm", "../lib/node_modules/npm/bin/npm-cli.js")
    alias = program(home / ".nvm/alias/default")
    image = Image(home, prefix / "bin")

    assert image.has(node, npm, module)
    assert image.lacks(alias, *secrets(home))


def test_cargo_brings_rustup_toolchains_and_no_credentials(home: Path) -> None:
    """Rustup's proxies come with the toolchains they start; Cargo's credentials stay."""
    proxy = program(home / ".cargo/bin/rustup")
    cargo = link(home / ".cargo/bin/cargo", "rustup")
    real = program(home / ".rustup/toolchains/stable/bin/cargo")
    settings = program(home / ".rustup/settings.toml")
    registry = program(home / ".cargo/registry/index")
    image = Image(home, home / ".cargo/bin")

    assert image.has(proxy, cargo, real, settings)
    assert image.lacks(registry, *secrets(home))


def test_pyenv_shims_bring_what_they_start(home: Path) -> None:
    """A shim comes with pyenv itself, all its versions, and the file that chooses among them."""
    pyenv = home / ".pyenv"
    shim = program(pyenv / "shims/python", "#!/usr/bin/env bash\n")
    python = program(pyenv / "versions/3.12.1/bin/python")
    helper = program(pyenv / "libexec/pyenv", "#!/usr/bin/env bash\n")
    start = link(pyenv / "bin/pyenv", "../libexec/pyenv")
    chosen = program(pyenv / "version", "3.12.1")
    image = Image(home, pyenv / "shims")

    assert image.has(shim, python, helper, start, chosen)
    assert image.lacks(*secrets(home))


def test_bun_brings_the_modules_of_its_tools(home: Path) -> None:
    """A global tool of bun comes with the whole folder of modules that it lies in."""
    modules = home / ".bun/install/global/node_modules"
    entry = program(modules / "tool/dist/cli.js", "#!/usr/bin/env node\n")
    nested = program(modules / "tool/node_modules/dependency/index.js")
    beside = program(modules / "other/index.js")
    tool = link(home / ".bun/bin/tool", "../install/global/node_modules/tool/dist/cli.js")
    image = Image(home, home / ".bun/bin")
    tool.unlink()
    inner = link(tool, nested)
    of_inner = Image(home, home / ".bun/bin")

    assert image.has(entry, nested, beside)
    assert of_inner.has(inner, entry, nested, beside)
    assert image.lacks(*secrets(home))


def test_token_beside_a_bin_folder_stays(home: Path) -> None:
    """Of ~/.fly only the programs come: the file with the token lies right beside them."""
    tool = program(home / ".fly/bin/flyctl")
    image = Image(home, home / ".fly/bin")

    assert image.has(tool)
    assert image.lacks(*secrets(home))


def test_link_on_path_into_a_secret_folder_brings_one_file(home: Path) -> None:
    """A link to a file that is in no `bin` brings that file alone."""
    script = program(home / ".config/gh/extension.sh", "#!/bin/sh\n")
    tool = link(home / "bin/extension", script)
    image = Image(home, home / "bin")

    assert image.has(tool, script)
    assert image.lacks(*secrets(home))


def test_dangling_and_circular_links_are_no_error(home: Path) -> None:
    """Links on PATH that lead nowhere bring nothing and break nothing."""
    tool = program(home / "bin/tool")
    link(home / "bin/gone", "/gone/bin/tool")
    link(home / "bin/circle", "circle")

    assert Image(home, home / "bin").has(tool)


def test_folder_on_path_that_is_a_link_comes_with_its_prefix(home: Path) -> None:
    """A PATH folder below a moving link is there by that name, with its libraries."""
    real = program(home / ".sdkman/java/21/bin/java")
    library = program(home / ".sdkman/java/21/lib/modules")
    link(home / ".sdkman/java/current", "21")
    image = Image(home, home / ".sdkman/java/current/bin")

    assert image.has(home / ".sdkman/java/current/bin/java")
    assert image.has(home / ".sdkman/java/current/lib/modules")
    assert image.has(real, library)


def test_folder_outside_home_comes_with_its_prefix(home: Path, tmp_path: Path) -> None:
    """A tool installed beside HOME comes with the libraries of its prefix and no more."""
    tool = program(tmp_path / "tools/thing/bin/thing")
    library = program(tmp_path / "tools/thing/lib/thing.so")
    other = program(tmp_path / "tools/other/token")
    targets = {one.target for one in Image(home, tool.parent).mounts}

    assert PurePosixPath(tool.parent) in targets
    assert PurePosixPath(library.parent) in targets
    assert not any(PurePosixPath(other).is_relative_to(target) for target in targets)


CLOSED = """
import sys
from pathlib import Path
from isosmoke.sandbox.host_mounts import host_mounts
closed, home = map(Path, sys.argv[1:])
closed.chmod(0)
found = host_mounts(f"{closed}/bin:{home}/bin:/usr/bin", home, masked=False)
closed.chmod(0o700)
print(any(str(one.target).startswith(str(closed)) for one in found))
"""


def test_folder_on_path_that_is_closed_to_the_caller_is_passed_over(
    home: Path, tmp_path: Path, ordinary: Ordinary
) -> None:
    """Another user's folder on PATH, as sudo leaves it, is no error and brings nothing."""
    inside = program(tmp_path / "closed/bin/tool")
    link(home / "bin/tool", inside)

    assert ordinary(CLOSED, tmp_path / "closed", home) == "False"


def unreadable() -> list[Path]:
    """Every file and folder below /etc that others may not read, links aside."""
    found = []
    for here, folders, files in os.walk("/etc"):
        for name in (*folders, *files):
            path = Path(here, name)
            if not path.is_symlink() and not path.stat().st_mode & stat.S_IROTH:
                found.append(path)
    return found


def test_masks_hide_all_that_others_may_not_read(home: Path) -> None:
    """Where the caller is root, each secret of /etc is hidden, or the folder that it is in."""
    mounts = host_mounts("/usr/bin", home, masked=True)
    masks = [one for one in mounts if PurePosixPath("/etc") in one.target.parents]
    hidden = {one.target for one in masks if is_mask(one)}

    for path in unreadable():
        assert any(PurePosixPath(one) in hidden for one in (path, *path.parents)), path
    for target in hidden:
        assert not Path(target).stat().st_mode & stat.S_IROTH


def is_mask(mount: Mount) -> bool:
    """Whether it shows nothing: an empty folder that cannot be entered, or /dev/null."""
    match mount:
        case ReadOnly(source, target):
            return source == Path(os.devnull) and not Path(target).is_dir()
        case Fresh(target, mode):
            return mode == 0 and Path(target).is_dir()
        case _:
            return False


def test_ordinary_user_needs_no_masks(home: Path) -> None:
    """Whoever cannot read a secret anyway gets no mask."""
    assert not any(is_mask(one) for one in host_mounts("/usr/bin", home, masked=False))
