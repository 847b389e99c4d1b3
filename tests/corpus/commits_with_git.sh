# There is an identity, and nobody asks who owns what.
set -e
cd "$(mktemp -d)"
git init --quiet .
echo one >file
git add file
git commit --quiet --message "the first"
test "$(git rev-list --count HEAD)" = 1
