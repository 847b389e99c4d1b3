# An identity is configured, and git accepts the owner of the repository.
set -e
cd "$(mktemp -d)"
git init --quiet .
echo one >file
git add file
git commit --quiet --message "the first"
test "$(git rev-list --count HEAD)" = 1
