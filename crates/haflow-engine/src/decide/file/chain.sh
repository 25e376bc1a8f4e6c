# New files of one owner, group and mode come into one folder together: each is written beside it, all are synced,
# and only then the first gets its name. Then each is shown as show.sh does it. Where it isn't that simple, `apart`
# is printed, and nothing was changed. Where it fails, some may be there, each of them whole.
file_chain_apart() { echo apart; exit 0; }
# Writes $wanted for $path, and adds it to the names.
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
  if [ "$pin_trust" = no ] || pin_has_acl .; then file_chain_apart; fi
  pin_sweep
  stage=./.haflow-$$-new
  trap 'rm -rf -- "$stage"' EXIT
  # PIPE: where the connection is lost, the shell's own word on what a signal ended has no reader.
  trap 'rm -rf -- "$stage"; exit 129' HUP INT PIPE TERM
  rm -rf -- "$stage"
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
    if [ -n "$owner$group" ]; then chown -h -- "$owner${group:+:$group}" "$@"; fi
    chmod -- "$(printf '%04o' "$asked")" "$@"
  fi
  sync -- "$@"
  # That took a while.
  for name; do
    if [ -e "./${name##*/}" ] || [ -L "./${name##*/}" ]; then file_chain_apart; fi
  done
  mv -f -t . -- "$@"
  rmdir -- "$stage"
  trap - EXIT HUP INT PIPE TERM
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
