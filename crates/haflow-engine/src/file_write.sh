# Puts $wanted at $path in one step: whoever reads sees the old file or the new one, whole, also after a power cut.
set -eu
if [ -L "$path" ]; then path=$(readlink -f -- "$path"); fi
folder=${path%/*}
new="${folder:-/}/.${path##*/}.haflow-$$"
trap 'rm -f -- "$new"' EXIT
trap 'exit 129' HUP INT TERM
# The shell's own printf costs no process, but doesn't say what went wrong: cat does.
write() { printf '%s' "$wanted" > "$new" 2>/dev/null || { rm -f -- "$new"; printf '%s' "$wanted" | cat > "$new"; }; }
# Whoever may write in the folder could have put a link there.
set -C
rm -f -- "$new"
if [ "$plain" = yes ]; then
  # Made with the wanted mode and by the wanted owner: nothing more is to be set.
  umask "$mask"
  write
else
  umask 077
  write
  if [ -n "$owner" ]; then
    chown -- "$owner" "$new"
  elif [ -e "$path" ]; then
    chown --reference="$path" -- "$new"
  fi
  if [ -n "$group" ]; then chgrp -- "$group" "$new"; fi
  if [ -n "$mode" ]; then
    chmod -- "$mode" "$new"
  elif [ -e "$path" ]; then
    chmod --reference="$path" -- "$new"
  fi
fi
sync -- "$new"
mv -fT -- "$new" "$path"
trap - EXIT HUP INT TERM
set +C
