# The server that tmux starts stays when the script ends, with the shell in its pane.
set -e
tmux new-session -d -s corpus 'sleep 600'
tmux has-session -t corpus
