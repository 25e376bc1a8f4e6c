# Makes what $kind needs at $path, with owner, group and mode.
set -eu
pin_follow=$follow
case $kind in
  folder) pin_make "$path" "$owner" "$group" "$mode" ;;
  link) pin_symlink "$path" "$target" "$owner" "$group" ;;
  absent) pin_take "$path" ;;
  file | present) pin_attributes "$path" "$owner" "$group" "$mode" ;;
esac
set +eu
