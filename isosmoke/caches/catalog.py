"""The caches that a sandbox can show: an allow-list of directories for each tool (pure).

Only what a tool downloads or computes is listed. Configuration and credentials next to it are not:
`~/.cargo/credentials.toml`, `~/.gradle/gradle.properties`, `~/.m2/settings.xml`, `~/.npmrc`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from isosmoke.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRoot:
    """A directory of a tool, which a variable may name.

    Without the variable it is `default`, relative to HOME, or `cache`, relative to the directory
    of caches (XDG). `entries` are patterns of the directories in it that are shown; `.` is the
    directory itself. `origins` are patterns of the files that record where content came from, and
    whose URLs may have tokens; `**` is any number of directories. `hidden` are files of
    configuration, which are empty.
    """

    variable: str
    default: str = ""
    cache: str = ""
    entries: tuple[str, ...] = (".",)
    origins: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


_GIT = ("config", "FETCH_HEAD", "logs/HEAD")


def _list_git_files(*repositories: str) -> tuple[str, ...]:
    """Return the files in which git records the URLs of these repositories."""
    return tuple(f"{repository}/{file}" for repository in repositories for file in _GIT)


CATALOG: Mapping[str, tuple[CacheRoot, ...]] = MappingProxyType(
    {
        "cargo": (
            CacheRoot(
                variable="CARGO_HOME",
                default=".cargo",
                entries=("registry", "git"),
                origins=(
                    "registry/index/*/config.json",
                    *_list_git_files("registry/index/*/.git", "git/db/*", "git/checkouts/*/*/.git"),
                ),
            ),
        ),
        "go": (
            CacheRoot(variable="GOCACHE", cache="go-build"),
            CacheRoot(
                variable="GOMODCACHE",
                default="go/pkg/mod",
                origins=("cache/vcs/*.info", *_list_git_files("cache/vcs/*")),
            ),
        ),
        "npm": (
            CacheRoot(
                variable="npm_config_cache",
                default=".npm",
                entries=("_cacache",),
                origins=("_cacache/index-v5/*/*/*",),
            ),
        ),
        "pnpm": (
            CacheRoot(
                variable="npm_config_store_dir", default=".local/share/pnpm/store", origins=()
            ),
            CacheRoot(
                variable="npm_config_cache_dir", cache="pnpm", origins=("metadata*/*/*.json",)
            ),
        ),
        "yarn": (
            CacheRoot(
                variable="YARN_CACHE_FOLDER",
                cache="yarn",
                origins=("v*/*/node_modules/*/.yarn-metadata.json",),
            ),
            CacheRoot(variable="YARN_GLOBAL_FOLDER", default=".yarn/berry", entries=("cache",)),
        ),
        "pip": (
            CacheRoot(
                variable="PIP_CACHE_DIR",
                cache="pip",
                entries=("http", "http-v2", "wheels"),
                origins=("wheels/*/*/*/*/origin.json",),
            ),
        ),
        "uv": (
            CacheRoot(
                variable="UV_CACHE_DIR",
                cache="uv",
                entries=(
                    *("archive-v*", "wheels-v*/pypi", "sdists-v*/pypi", "simple-v*/pypi"),
                    "git-v*",
                ),
                origins=_list_git_files("git-v*/db/*", "git-v*/checkouts/*/*/.git"),
            ),
        ),
        "gradle": (
            CacheRoot(
                variable="GRADLE_USER_HOME",
                default=".gradle",
                entries=(
                    "caches/modules-*",
                    "caches/jars-*",
                    "caches/build-cache-*",
                    "wrapper/dists",
                ),
            ),
        ),
        "maven": (
            CacheRoot(
                variable="",
                default=".m2",
                entries=("repository", "wrapper/dists"),
                origins=("repository/**/*.lastUpdated",),
            ),
        ),
        "ccache": (CacheRoot(variable="CCACHE_DIR", cache="ccache", hidden=("ccache.conf",)),),
        "sccache": (CacheRoot(variable="SCCACHE_DIR", cache="sccache"),),
    }
)
"""The caches of each tool, by the names in `isosmoke.sandbox.spec.CACHES`."""
