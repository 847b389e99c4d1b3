# Read files where programs keep credentials.
[ -d "$HOME" ] || exit 99
for name in .ssh/id_ed25519 .aws/credentials .netrc .git-credentials .gnupg/secring.gpg \
	.docker/config.json .config/gh/hosts.yml .kube/config; do
	[ ! -e "$HOME/$name" ] || { echo "escaped: $(cat "$HOME/$name")" >&2; exit 1; }
done
echo "refused: none is in $HOME"
