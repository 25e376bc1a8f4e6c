# Makes what the kind needs at $path, then sets owner, group and mode. A changed owner clears set-user-id: the mode comes last.
set -eu
case $kind in
  folder) [ -d "$path" ] || mkdir -p -- "$path" ;;
  link)
    new="${path%/*}/.${path##*/}.haflow-$$"
    rm -f -- "$new"
    ln -sT -- "$target" "$new"
    mv -fT -- "$new" "$path" || { rm -f -- "$new"; exit 1; }
    ;;
  absent) rm -rf -- "$path" ;;
esac
if [ "$kind" != absent ]; then
  follow=
  [ "$kind" != link ] || follow=-h
  if [ -n "$owner" ]; then chown $follow -- "$owner" "$path"; fi
  if [ -n "$group" ]; then chgrp $follow -- "$group" "$path"; fi
  if [ -n "$mode" ] && [ "$kind" != link ]; then chmod -- "$mode" "$path"; fi
fi
