# The tmux server outlives the script, with the shell in its pane.
set -e
tmux new-session -d -s corpus 'sleep 600'
tmux has-session -t corpus
