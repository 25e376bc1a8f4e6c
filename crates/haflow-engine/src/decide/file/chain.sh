# New files of one owner, group and mode come into one folder together: each is written beside it, all are
# synced, and only then the first gets its name. Then each is shown as show.sh does it. Where it isn't that
# simple, `apart` is printed, and nothing was changed. Where it fails, some may be there, each of them whole.
file_chain_apart() { echo apart; exit 0; }
# Writes $wanted for $path, whose name is $pin_name.
file_chain_put() {
  pin_name=${path##*/}
  if [ -e "./$pin_name" ] || [ -L "./$pin_name" ]; then file_chain_apart; fi
  printf '%s' "$wanted" > "$stage/$pin_name" 2>/dev/null || file_chain_apart
}
# Shows what is at $path, of which stat has printed $1.
file_chain_show() {
  pin_seen=$folders$1
  pin_weigh
  pin_name=${path##*/}
  (file_show)
}
file_chain_begin() {
  set -eu
  pin_follow=no
  pin_find "$path_1" || file_chain_apart
  pin_judge
  [ "$pin_trust" = yes ] || file_chain_apart
  pin_begin
  [ "$pin_acl" = no ] || file_chain_apart
  stage=$pin_new
  umask 077
  mkdir -- "$stage"
  asked=$((0${mode:-0644}))
  if [ -z "$owner$group" ] && [ $((asked & ~0666)) -eq 0 ]; then
    # Made with the wanted mode and by the wanted owner: nothing more is to be set.
    umask "$(printf '%04o' $((0777 & ~asked)))"
    asked=
  fi
  set -C
}
# Gives the files their names.
file_chain_end() {
  if [ -n "$asked" ]; then
    [ -z "$owner$group" ] || chown -h -- "$owner${group:+:$group}" "$@" || file_chain_apart
    chmod -- "$(printf '%04o' "$asked")" "$@" || file_chain_apart
  fi
  sync -- "$@" || file_chain_apart
  # That took a while.
  for name; do
    if [ -e "./${name##*/}" ] || [ -L "./${name##*/}" ]; then file_chain_apart; fi
  done
  mv -f -t . -- "$@"
  pin_tidy
  sync -- .
  set +C
}
# Sets $folders to what stat prints of the folders, and $files to what it prints of these names.
file_chain_see() {
  for name; do
    set -- "$@" "./${name##*/}"
    shift
  done
  left=$#
  pin_stat "$@"
  files=$pin_seen$pin_newline
  folders=
  above=$pin_depth
  while [ "$above" -ge 0 ]; do
    folders=$folders${files%%"$pin_newline"*}$pin_newline
    files=${files#*"$pin_newline"}
    above=$((above - 1))
  done
  rest=$files
  while [ -n "$rest" ]; do
    rest=${rest#*"$pin_newline"}
    left=$((left - 1))
  done
  [ "$left" -eq 0 ] || exit 1
}
